// What lies over the slide, drawn into one canvas: pictures of layers, tile grid, regions, the picked tile.

export function ringsOf(geometry) { // all outlines of a polygon or multipolygon, without the repeated last point
  const parts = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  return parts.flat();
}

function trace(context, points) {
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
}

function outline(context, pixel, color, wide = 2) { // in colour on white, so that it is seen on any tissue
  context.lineWidth = (wide + 2) * pixel;
  context.strokeStyle = "white";
  context.stroke();
  context.lineWidth = wide * pixel;
  context.strokeStyle = color;
  context.stroke();
}

export function drawGrid(context, boxes, pixel, box) {
  context.beginPath();
  for (let i = 0; i < boxes.length; i += 3) {
    const [x, y, size] = boxes.subarray(i, i + 3);
    if (x + size < box.left || y + size < box.top || x > box.right || y > box.bottom) continue;
    context.rect(x, y, size, size);
  }
  context.lineWidth = pixel;
  context.strokeStyle = "black";
  context.stroke();
}

export function drawRegion(context, region, color, pixel, chosen) {
  context.beginPath();
  for (const ring of ringsOf(region.geometry)) { trace(context, ring); context.closePath(); }
  outline(context, pixel, color, chosen ? 4 : 2);
  if (!chosen) return;
  context.beginPath();
  for (const [x, y] of ringsOf(region.geometry).flat()) context.rect(x - 4 * pixel, y - 4 * pixel, 8 * pixel, 8 * pixel);
  context.fillStyle = "white";
  context.fill();
  outline(context, pixel, color, 1);
}

export function drawDraft(context, points, color, pixel) {
  if (!points.length) return;
  context.beginPath();
  trace(context, points);
  outline(context, pixel, color);
  context.beginPath();
  for (const [x, y] of points) context.rect(x - 3 * pixel, y - 3 * pixel, 6 * pixel, 6 * pixel);
  context.fillStyle = color;
  context.fill();
}

export function drawPicked(context, tile, pixel) {
  context.beginPath();
  context.rect(tile.x, tile.y, tile.size, tile.size);
  outline(context, pixel, "black", 3);
}
