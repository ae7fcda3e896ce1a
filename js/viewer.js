// The slide viewer: OpenSeadragon over the kernel's tiles, layers, picking, drawing; all state lives in the model.
import OpenSeadragon from "openseadragon";
import { button, element } from "./dom.js";
import { drawDraft, drawGrid, drawPicked, drawRegion, ringsOf } from "./canvas.js";
import { tileSource } from "./tiles.js";
import "./viewer.css";

const NEAR = 10; // screen pixels within which a corner is caught
const FINEST = 1 / 4; // level-0 pixels per screen pixel at the strongest zoom
const HINTS = {
  move: "Drag to move, scroll to zoom. Click a tile to pick it; by keyboard: arrows, + and -, 0 for the whole slide, Enter picks at the cross.",
  box: "Drag a box; by keyboard: Enter at two opposite corners. Escape gives up.",
  polygon: "Click the corners, double-click to finish; by keyboard: Enter sets a corner at the cross, C closes, Backspace takes one back. Escape gives up.",
  edit: "Click a region to choose it, drag its corners; change its class or delete it in the list.",
};

function render({ model, el }) {
  const slide = model.get("slide");
  let tool = "move", draft = [], caught = null, chosen = -1, shownScale = 0;
  let content = new Map(); // name of a layer -> its ImageBitmap, or the Int32Array of its tiles

  // ---- what the reader sees -------------------------------------------------------------------------------------
  const stage = element("div", { className: "dsnb-stage", style: { height: `${model.get("height")}px` } });
  const scaleBar = element("i"), scaleText = element("span");
  const scale = element("div", { className: "dsnb-scale" }, scaleText, scaleBar);
  const status = element("div", { className: "dsnb-status", role: "status", ariaLive: "polite" });
  const error = element("div", { className: "dsnb-error", role: "alert" });
  const layerList = element("div"), regionList = element("div");
  const across = element("input", { type: "number", ariaLabel: "x, level-0 pixels", placeholder: "x" });
  const down = element("input", { type: "number", ariaLabel: "y, level-0 pixels", placeholder: "y" });
  const names = element("datalist", { id: `dsnb-${Math.random().toString(36).slice(2)}` });
  const drawnClass = element("input", { type: "text", ariaLabel: "class of what you draw" });
  drawnClass.setAttribute("list", names.id);
  drawnClass.value = model.get("classes")[0]?.[0] ?? "region";
  const tools = Object.entries({ move: "Move", box: "Box", polygon: "Polygon", edit: "Edit" }).map(([name, text]) =>
    button(text, `tool: ${text.toLowerCase()}`, () => choose(name), { value: name, ariaPressed: "false" }));
  const go = () => goTo(Number(across.value), Number(down.value), null, false);
  for (const box of [across, down]) box.onkeydown = (event) => { if (event.key === "Enter") go(); }; // no value: false would forbid the key
  const full = button("Full screen", "full screen on or off",
    () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
  const bar = element("div", { className: "dsnb-bar", role: "toolbar", ariaLabel: "viewer controls" },
    element("span", {}, button("+", "zoom in", () => zoom(2)), button("\u2212", "zoom out", () => zoom(0.5)),
      button("Whole slide", "show the whole slide", () => osd.viewport.goHome())),
    element("span", {}, ...tools), element("span", {}, "Class", drawnClass, names),
    element("span", {}, across, down, button("Go", "go to the place x, y", go)),
    element("span", {}, button("Save regions", "save the regions as GeoJSON", () => model.send({ type: "save" })), full));
  const side = element("div", { className: "dsnb-side", style: { maxHeight: `${model.get("height")}px` } },
    element("h4", { textContent: "Layers" }), layerList, element("h4", { textContent: "Regions" }), regionList);
  const root = element("div", { className: "dsnb", role: "group", ariaLabel: `slide viewer: ${slide.name}` },
    bar, element("div", { className: "dsnb-body" }, stage, side), status, error);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the keys: 0 0 would restart the kernel
  el.append(root);

  // ---- the slide ------------------------------------------------------------------------------------------------
  const source = tileSource(model, (text) => { error.textContent = text; },
    (ms) => stage.dispatchEvent(new CustomEvent("dsnb-tile", { detail: ms, bubbles: true }))); // heard by tests/bench/bench_viewer.py
  const osd = OpenSeadragon({
    element: stage, tileSources: source, drawer: "canvas", showNavigationControl: false, showNavigator: true,
    navigatorPosition: "TOP_RIGHT", navigatorAutoFade: false, navigatorSizeRatio: 0.18, imageLoaderLimit: 0, maxTilesPerFrame: 16, animationTime: 0.4,
    maxZoomPixelRatio: 1 / FINEST, visibilityRatio: 0.2, preserveImageSizeOnResize: true, timeout: 60000,
    gestureSettingsMouse: { clickToZoom: false }, gestureSettingsPen: { clickToZoom: false }, tabIndex: 0,
  });
  stage.append(element("div", { className: "dsnb-cross" }), scale);
  osd.canvas.setAttribute("aria-label", `${slide.name}. ${HINTS.move}`);
  osd.canvas.setAttribute("role", "application");
  osd.canvas.dataset.lmSuppressShortcuts = "true";

  let placed = stage.clientWidth > 0;
  const ready = () => placed && osd.world.getItemCount() > 0;
  const perPixel = () => slide.width / (osd.viewport.getZoom(true) * osd.viewport.getContainerSize().x);
  const middle = () => osd.viewport.viewportToImageCoordinates(osd.viewport.getCenter(true));
  const placeOf = (event) => {
    const { x, y } = osd.viewport.viewerElementToImageCoordinates(event.position);
    return [x, y];
  };

  function zoom(factor) {
    osd.viewport.zoomBy(factor);
    osd.viewport.applyConstraints();
  }

  function goTo(x, y, downsample, immediately) {
    if (!ready() || ![x, y].every(Number.isFinite)) return;
    if (downsample) osd.viewport.zoomTo(slide.width / (downsample * osd.viewport.getContainerSize().x), null, immediately);
    osd.viewport.panTo(osd.viewport.imageToViewportCoordinates(x, y), immediately);
  }

  function follow() { // the model's view was changed: by Python, or by a viewer that is linked to this one
    const [x, y, downsample] = model.get("view");
    if (!ready() || !downsample) return;
    const at = middle(), far = Math.hypot(x - at.x, y - at.y) / downsample;
    if (far > 1 || Math.abs(Math.log(downsample / perPixel())) > 0.01) goTo(x, y, downsample, true);
  }

  function tellView(save) {
    if (!ready()) return;
    const at = middle();
    model.set("view", [at.x, at.y, perPixel()]);
    if (save) model.save_changes();
  }

  // ---- drawing over it ------------------------------------------------------------------------------------------
  const colorOf = (name) => new Map(model.get("classes")).get(name) ?? "#000000";
  const stateOf = (name) => model.get("layer_state")[name] ?? { visible: true, opacity: 0.6 };

  function draw() { // once, in the next frame
    osd.forceRedraw();
  }

  function drawOver() { // into the canvas that the slide was just drawn in: a second one would cost as much again
    if (!ready()) return;
    const dots = OpenSeadragon.pixelDensityRatio, { width, height } = osd.drawer.canvas;
    const context = osd.drawer.context, pixel = perPixel();
    const corner = osd.viewport.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    context.save();
    context.setTransform(dots / pixel, 0, 0, dots / pixel, corner.x * dots, corner.y * dots);
    context.imageSmoothingEnabled = false;
    const box = { left: -corner.x * pixel, top: -corner.y * pixel };
    Object.assign(box, { right: box.left + (width / dots) * pixel, bottom: box.top + (height / dots) * pixel });
    for (const layer of model.get("layers")) {
      const { visible, opacity } = stateOf(layer.name);
      if (!visible) continue;
      context.globalAlpha = opacity;
      const drawn = content.get(layer.name);
      if (layer.kind === "picture" && drawn) {
        context.drawImage(drawn, 0, 0, slide.width, slide.height);
      } else if (layer.kind === "grid" && drawn) {
        drawGrid(context, drawn, pixel, box);
      } else if (layer.kind === "regions") {
        model.get("regions").forEach((r, i) => drawRegion(context, r, colorOf(r.name), pixel, i === chosen));
      }
    }
    context.globalAlpha = 1;
    drawDraft(context, draft, colorOf(drawnClass.value), pixel);
    if (model.get("picked").size) drawPicked(context, model.get("picked"), pixel);
    context.restore();
    if (pixel !== shownScale) showScale(pixel);
  }

  function showScale(pixel) {
    shownScale = pixel;
    const unit = slide.mpp ?? 1, target = (stage.clientWidth / 5) * pixel * unit;
    const ten = 10 ** Math.floor(Math.log10(target));
    const length = [5, 2, 1].map((m) => m * ten).find((l) => l <= target) ?? ten;
    scaleBar.style.width = `${length / unit / pixel}px`;
    const round = (value) => Number(value.toPrecision(2));
    const text = !slide.mpp ? `${length} px` : length >= 1000 ? `${length / 1000} mm` : `${round(length)} \u00b5m`;
    const strength = slide.mpp ? `${round(10 / (slide.mpp * pixel))}\u00d7` : `${round(100 / pixel)} %`;
    scaleText.textContent = `${text} \u00b7 ${strength}`;
  }

  async function showLayers() {
    const made = new Map();
    for (const { name, kind, data } of model.get("layers")) {
      if (kind === "picture") made.set(name, await createImageBitmap(new Blob([data])));
      if (kind === "grid") made.set(name, new Int32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)));
    }
    content = made;
    layerList.replaceChildren(...model.get("layers").map(layerRow));
    draw();
  }

  function layerRow({ name, legend }) {
    const { visible, opacity } = stateOf(name);
    const change = (more) => {
      model.set("layer_state", { ...model.get("layer_state"), [name]: { ...stateOf(name), ...more } });
      model.save_changes();
    };
    const seen = element("input", { type: "checkbox", checked: visible, onchange: () => change({ visible: seen.checked }) });
    const slider = element("input", { type: "range", min: 0, max: 1, step: 0.05, ariaLabel: `opacity of ${name}` });
    slider.value = opacity;
    slider.oninput = () => change({ opacity: Number(slider.value) });
    const keys = (legend.classes ?? []).map(([text, color]) =>
      element("div", { className: "dsnb-key" }, element("i", { style: { background: color } }), text));
    if (legend.ramp) {
      keys.push(element("div", { className: "dsnb-ramp", style: { background: `linear-gradient(90deg, ${legend.ramp})` } }),
        element("div", { className: "dsnb-ends" }, ...legend.ends.map((text) => element("span", { textContent: text }))));
    }
    const row = element("div", { className: "dsnb-layer" }, element("label", {}, seen, ` ${name}`), slider, ...keys);
    row.dataset.layer = name;
    return row;
  }

  function refreshLayers() { // after a change of state: the rows stay, or the slider that is dragged would be lost
    for (const row of layerList.children) {
      const { visible, opacity } = stateOf(row.dataset.layer);
      row.querySelector("[type=checkbox]").checked = visible;
      row.querySelector("[type=range]").value = opacity;
    }
    draw();
  }

  // ---- regions --------------------------------------------------------------------------------------------------
  function setRegions(regions) {
    model.set("regions", regions);
    model.save_changes();
  }

  function showRegions() {
    const regions = model.get("regions");
    if (chosen >= regions.length) chosen = -1;
    names.replaceChildren(...model.get("classes").map(([name]) => element("option", { value: name })));
    regionList.replaceChildren(...regions.map((region, i) => {
      const title = `${i + 1} ${region.name}`;
      const swatch = element("i", { className: "dsnb-swatch", style: { background: colorOf(region.name) } });
      return element("div", { className: "dsnb-region" }, swatch,
        button(title, `go to region ${title}`, () => { chosen = i; showRegions(); seeRegion(region); },
          { ariaPressed: String(i === chosen) }),
        button("Class", `give region ${title} the class in the field Class`,
          () => setRegions(regions.map((r, k) => (k === i ? { ...r, name: drawnClass.value.trim() || r.name } : r)))),
        button("\u00d7", `delete region ${title}`, () => { chosen = -1; setRegions(regions.filter((_, k) => k !== i)); }));
    }));
    if (!regions.length) regionList.textContent = "none yet";
    draw();
  }

  function seeRegion(region) {
    const points = ringsOf(region.geometry).flat(), xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
    const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    const margin = 0.2 * Math.max(right - left, bottom - top);
    osd.viewport.fitBounds(osd.viewport.imageToViewportRectangle(
      left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin));
  }

  function finish(points) {
    draft = [];
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
    const wide = Math.min(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)) / perPixel();
    if (points.length < 3 || wide < 3) return draw();
    const ring = points.map(([x, y]) => [Math.min(Math.max(x, 0), slide.width), Math.min(Math.max(y, 0), slide.height)]);
    const region = { name: drawnClass.value.trim() || "region", geometry: { type: "Polygon", coordinates: [[...ring, ring[0]]] } };
    setRegions([...model.get("regions"), region]);
    status.textContent = `region ${model.get("regions").length}, ${region.name}, drawn`;
  }

  const corners = ([a, b]) => [a, [b[0], a[1]], b, [a[0], b[1]]];

  function choose(name) {
    tool = name;
    draft = [];
    caught = null;
    for (const one of tools) one.setAttribute("aria-pressed", String(one.value === name));
    osd.setMouseNavEnabled(true);
    osd.canvas.style.cursor = name === "move" ? "grab" : "crosshair";
    status.textContent = HINTS[name];
    draw();
  }

  function corner(place) { // the corner of the chosen region near a place, as [ring, index], or null
    const region = model.get("regions")[chosen];
    for (const [k, ring] of region ? ringsOf(region.geometry).entries() : []) {
      const i = ring.findIndex(([x, y]) => Math.hypot(x - place[0], y - place[1]) < NEAR * perPixel());
      if (i >= 0) return [k, i];
    }
    return null;
  }

  function pullCorner(place) {
    const [k, i] = caught, regions = structuredClone(model.get("regions")), ring = ringsOf(regions[chosen].geometry)[k];
    ring[i] = place;
    if (i === 0) ring[ring.length - 1] = place;
    if (i === ring.length - 1) ring[0] = place;
    model.set("regions", regions);
  }

  function regionAt(place) {
    const path = (region) => {
      const made = new Path2D();
      for (const ring of ringsOf(region.geometry)) { ring.forEach(([x, y], i) => (i ? made.lineTo(x, y) : made.moveTo(x, y))); made.closePath(); }
      return made;
    };
    const context = element("canvas").getContext("2d");
    return model.get("regions").findLastIndex((r) => context.isPointInPath(path(r), ...place, "evenodd"));
  }

  function act(place) { // a click, or Enter at the cross
    if (tool === "move") {
      model.send({ type: "pick", place });
    } else if (tool === "edit") {
      chosen = regionAt(place);
      showRegions();
    } else {
      draft.push(place);
      if (tool === "box" && draft.length === 2) finish(corners(draft));
      draw();
    }
  }

  // ---- events ---------------------------------------------------------------------------------------------------
  osd.addHandler("canvas-click", (event) => event.quick && act(placeOf(event)));
  osd.addHandler("canvas-double-click", (event) => {
    if (tool !== "polygon") return;
    event.preventDefaultAction = true;
    finish(draft.slice(0, -1)); // its second click set the last corner twice
  });
  osd.addHandler("canvas-press", (event) => {
    if (tool === "edit") caught = corner(placeOf(event));
    if (tool === "box") caught = placeOf(event);
  });
  osd.addHandler("canvas-drag", (event) => {
    if (!caught) return;
    event.preventDefaultAction = true;
    if (tool === "box") { draft = corners([caught, placeOf(event)]); draw(); }
    if (tool === "edit") pullCorner(placeOf(event));
  });
  osd.addHandler("canvas-drag-end", (event) => {
    if (!caught) return;
    event.preventDefaultAction = true;
    if (tool === "box") finish(corners([caught, placeOf(event)]));
    if (tool === "edit") model.save_changes();
    caught = null;
  });
  osd.addHandler("canvas-key", (event) => {
    const key = event.originalEvent.key;
    if ("rRf".includes(key)) event.preventDefaultAction = true; // a turned slide has turned coordinates
    if (key === "Enter") { const at = middle(); act([at.x, at.y]); }
    if (key === "Escape") draft = [];
    if (key === "Backspace") draft.pop();
    if (key.toLowerCase() === "c" && tool === "polygon") finish(draft);
    if (["Enter", "Escape", "Backspace"].includes(key)) { event.originalEvent.preventDefault(); draw(); }
  });
  osd.addHandler("open", () => { follow(); draw(); });
  if (!placed) { // rendered out of sight (Voila, or into a box that is not yet shown): nothing fits into no space
    osd.addOnceHandler("after-resize", () => setTimeout(() => {
      placed = true;
      if (!ready()) return; // "open" comes later
      if (model.get("view")[2]) follow();
      else osd.viewport.goHome(true);
    }));
  }
  osd.addHandler("update-viewport", drawOver);
  osd.addHandler("animation", () => tellView(false));
  osd.addHandler("animation-finish", () => tellView(true));

  const listeners = {
    "change:view": follow, "change:layers": showLayers, "change:layer_state": refreshLayers, "change:regions": showRegions,
    "change:classes": showRegions,
    "change:picked": () => { status.textContent = model.get("picked").text ?? ""; draw(); },
    "change:message": () => { status.textContent = model.get("message"); },
    "change:error": () => { error.textContent = model.get("error"); },
  };
  for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);
  const sized = new ResizeObserver(() => { shownScale = 0; draw(); });
  sized.observe(stage);
  choose("move");
  showLayers();
  showRegions();
  error.textContent = model.get("error");

  return () => {
    for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
    sized.disconnect();
    source.stop();
    osd.destroy();
  };
}

export default { render };
