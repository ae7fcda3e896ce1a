"""Slides: real files, pixels at the right place, one sentence for everything that cannot be opened or listed."""
import os
import shutil
import tracemalloc

import numpy as np
import openslide
import pandas as pd
import pytest
import tifffile
from PIL import Image

from deepslide_nb import slides as S
from deepslide_nb.settings import InputError
from deepslide_nb.slides import cached_slide, need_mpp, open_slide, read_slides


def tiff(path, pixels, downsamples=(1,), **kw):
    with tifffile.TiffWriter(path) as out:
        for d in downsamples:
            out.write(np.asarray(Image.fromarray(pixels).reduce(d)), tile=(256, 256), photometric="rgb",
                      subfiletype=int(d > 1), resolution=(20000 / d, 20000 / d), resolutionunit="CENTIMETER", **kw)
    return path


@pytest.fixture(scope="session")
def noise():
    return np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)


def sentence(path, *words, call=open_slide, **kw):
    with pytest.raises(InputError) as e:
        call(path, **kw)
    text = str(e.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text
    assert all(w in text for w in words), text
    return text


@pytest.mark.parametrize("name,kind,size,mpp", [
    ("slides/CMU-1-Small-Region.svs", "slide", (2220, 2967), 0.499),
    ("slides/TCGA-CR-7395-01A-01-TS1_small.svs", "slide", (4443, 3567), None),
    ("idc_slide/slide_14306.tif", "slide", (2600, 2400), 4.0),
    ("pcam/images/1.png", "image", (96, 96), None),
    ("breakhis_bags/benign/fibroadenoma_14134E", "bag", (1120, 1120), None),
])
def test_real_files(real, name, kind, size, mpp):
    with open_slide(real / name) as slide:
        assert (slide.kind, slide.dimensions, slide.mpp) == (kind, size, mpp)
        small = slide.thumbnail(200)
        assert small.dtype == np.uint8 and max(small.shape[:2]) <= 200 and small.std() > 5
        tile = slide.read(slide.dimensions[0] // 2, slide.dimensions[1] // 2, 90, 45)
        assert tile.shape == (45, 45, 3)
    if mpp is None:
        assert need_mpp(open_slide(real / name, mpp=0.25)) == 0.25
        with pytest.raises(InputError, match="slide_mpp"):
            need_mpp(slide)


def test_real_pixels_are_openslides(real):
    path = real / "slides/CMU-1-Small-Region.svs"
    theirs = openslide.OpenSlide(path).read_region((700, 900), 0, (224, 224)).convert("RGB")
    assert (open_slide(path).read(700, 900, 224, 224) == np.asarray(theirs)).all()


def test_real_broken(real):
    sentence(real / "slides/broken.svs", "neither a slide")


def test_every_bag_image_is_read_whole(real):
    folder = real / "breakhis_bags/benign/tubular_adenoma_13200"
    bag, files = open_slide(folder), sorted(folder.glob("*.jpg"))
    assert len(bag.boxes) == len(files)
    for (x, y, size), file in zip(bag.boxes, files):
        assert (bag.read(x, y, size, size) == np.asarray(Image.open(file))).all()
    shrunk = bag.read(*bag.boxes[5], 56)  # nothing of the neighbouring images comes in
    alone = Image.open(files[5]).resize((56, 56), Image.Resampling.LANCZOS)
    assert np.abs(shrunk.astype(int) - np.asarray(alone)).max() <= 1


def test_x_is_the_column(tmp_path, noise):
    for path in (tiff(tmp_path / "a.tif", noise), tmp_path / "a.png"):
        if path.suffix == ".png":
            Image.fromarray(noise).save(path)
        slide = open_slide(path)
        assert (slide.read(300, 100, 200, 200) == noise[100:300, 300:500]).all()
        outside = slide.read(800, 600, 200, 200)
        assert (outside[:100, :100] == noise[600:, 800:]).all()
        assert (outside[100:] == 255).all() and (outside[:, 100:] == 255).all()


def test_odd_places_in_a_pyramid(tmp_path):
    y, x = np.mgrid[:1024, :1024]
    smooth = np.stack([127 + 120 * np.sin(x / 20), 127 + 120 * np.sin(y / 15), 0 * x], -1).round().astype(np.uint8)
    one, many = (open_slide(tiff(tmp_path / f"{len(d)}.tif", smooth, d)) for d in ((1,), (1, 2, 4)))
    for x0, y0, size, px in [(101, 57, 400, 200), (33, 78, 400, 100), (250, 251, 333, 111), (7, 9, 500, 96)]:
        a, b = (s.read(x0, y0, size, px).astype(float) for s in (one, many))
        assert np.abs(a - b).mean() < 1


def test_large_single_level_stays_small_in_memory(tmp_path):
    path = tmp_path / "large.tif"
    with tifffile.TiffWriter(path) as out:
        block = np.full((512, 512, 3), 200, np.uint8)
        out.write((block for _ in range(12 * 12)), shape=(6144, 6144, 3), dtype="uint8", tile=(512, 512),
                  photometric="rgb", compression="jpeg")
    slide = open_slide(path, mpp=0.5)
    tracemalloc.start()
    small = slide.thumbnail(256)
    assert small.shape == (256, 256, 3) and abs(small.mean() - 200) < 2
    assert slide.read(0, 0, 6144, 96).shape == (96, 96, 3)
    assert tracemalloc.get_traced_memory()[1] < 25e6
    tracemalloc.stop()


@pytest.mark.parametrize("mode,suffix", [("RGB", "jpg"), ("L", "png"), ("P", "png"), ("LA", "png"), ("RGBA", "png"),
                                         ("CMYK", "jpg"), ("1", "png"), ("RGB", "tif"), ("RGB", "bmp"), ("RGB", "webp")])
def test_plain_pictures(tmp_path, noise, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).convert(mode).save(path)
    slide = open_slide(path)
    assert (slide.kind, slide.dimensions, slide.mpp) == ("image", (900, 700), None)
    assert slide.read(10, 10, 50, 50).shape == (50, 50, 3)


def test_a_picture_is_decoded_once(tmp_path, noise, monkeypatch):
    Image.fromarray(noise).save(tmp_path / "a.png")
    decoded = []
    monkeypatch.setattr(S, "_decode", lambda p, f=S._decode: decoded.append(p) or f(p))
    slide = open_slide(tmp_path / "a.png")
    for i in range(20):
        slide.read(i, i, 96, 96)
    assert len(decoded) == 1


def test_memory_for_pictures_is_bounded(tmp_path, noise, monkeypatch):
    monkeypatch.setattr(S, "KEEP_BYTES", 4_000_000)
    for i in range(5):
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
        open_slide(tmp_path / f"{i}.png")
    kept, _, held, _, _ = S._memory(os.getpid())
    assert held[0] == sum(pixels.nbytes for pixels in kept.values()) <= 4_000_000


def test_what_two_threads_decoded_at_once_leaves_no_hole():
    "The place of the array that lost is used again: such holes added up to 400 MB on a slide of 100,000 px."
    S._memory.cache_clear()
    room = lambda: S._room((64, 64, 3))  # noqa: E731
    S._remembered("tile", lambda: [S._remembered("tile", room), room()][1])
    used = S._memory(os.getpid())[-1][1]
    room()
    assert S._memory(os.getpid())[-1][1] == used == 2 * 64 * 64 * 3
    S._memory.cache_clear()


def test_refused(tmp_path, noise, monkeypatch):
    whole = tiff(tmp_path / "whole.tif", noise, (1, 2)).read_bytes()
    files = {
        "text.tif": b"not a picture", "empty.svs": b"", "start.tif": whole[:200], "half.tif": whole[: len(whole) // 2],
        "end.tif": whole[: -len(whole) // 50], "odd.svs": bytes(range(256)) * 40,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        sentence(tmp_path / name)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-2000])
    sentence(tmp_path / "cut.jpg", "cut off")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    sentence(tmp_path / "deep.png", "8-bit")
    sentence(tmp_path / "nowhere.svs", "no such file")
    (tmp_path / "folder").mkdir()
    sentence(tmp_path / "folder", "no tile images")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    sentence(tmp_path / "whole.jpg", "pyramidal TIFF")


def test_damaged_inside(tmp_path, noise):
    "A slide that opens, with blocks that cannot be decoded."
    path = tiff(tmp_path / "a.tif", np.vstack([noise] * 3), compression="jpeg")
    content = bytearray(path.read_bytes())
    content[400_000:900_000] = b"\xff" * 500_000
    path.write_bytes(content)
    with open_slide(path) as slide, pytest.raises(InputError, match="damaged"):
        for y in range(0, 2100, 300):
            slide.read(0, y, 900, 300)


def test_bag_ignores_what_is_no_image(tmp_path, noise):
    for name in ("b.JPG", "a.png", ".hidden.png", "._a.png"):
        Image.fromarray(noise[:100, :100]).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("x")
    assert len(open_slide(tmp_path).boxes) == 2
    (tmp_path / "c.png").write_text("x")
    with pytest.raises(InputError, match="c.png"):
        open_slide(tmp_path)


def test_printer_resolution_is_not_believed(tmp_path, noise):
    tifffile.imwrite(tmp_path / "a.tif", noise, tile=(256, 256), photometric="rgb", resolution=(72, 72), resolutionunit=2)
    assert open_slide(tmp_path / "a.tif").mpp is None
    assert open_slide(tmp_path / "a.tif", mpp=0.5).mpp == 0.5


def test_cached_slide_sees_a_new_file(tmp_path, noise):
    path = tmp_path / "a.png"
    Image.fromarray(noise).save(path)
    old = cached_slide(path)
    assert cached_slide(str(path), float("nan")) is old
    Image.fromarray(255 - noise).save(path)
    os.utime(path, ns=(1, 1))
    assert (cached_slide(path).read(0, 0, 9, 9) == 255 - noise[:9, :9]).all()


# ---- tables of slides


@pytest.fixture
def cohort(tmp_path, noise):
    for name in ("a.png", "deep/er/b.png", "c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[:64, :64]).save(tmp_path / name)

    def write(text, name="slides.csv", encoding="utf-8"):
        (tmp_path / name).write_text(text, encoding=encoding)
        return tmp_path / name

    write.folder = tmp_path
    return write


def test_read_csv(cohort):
    absolute = cohort.folder / "c.png"
    path = cohort(
        "slide_id,path,label,patient_id,mpp,note,pathologist_A\n"
        f'007, a.png ,"a_b/c d, é",P1,0.25,,x\n'
        "../é/1,deep\\er\\b.png,NA,P1,,n,\n\n"
        f"3,{absolute},None,P2,0.5,,y\n", encoding="utf-8-sig")
    slides = read_slides(path, slide_mpp=1.0)
    assert list(slides.columns) == [*S.COLUMNS, "note", "pathologist_A"]
    assert list(slides.slide_id) == ["007", "../é/1", "3"]
    assert list(slides.label) == ["a_b/c d, é", "NA", "None"]
    assert list(slides.mpp) == [0.25, 1.0, 0.5] and slides.split.isna().all() and slides.annotations.isna().all()
    assert all(os.path.isabs(p) and os.path.exists(p) for p in slides.path)
    assert slides.pathologist_A.isna().tolist() == [False, True, False]
    assert read_slides(cohort.folder, slide_mpp=1.0).equals(slides)


def test_accents_in_paths(cohort, noise):
    Image.fromarray(noise[:64, :64]).save(cohort.folder / "pre\u0301.png")  # e and accent, as macOS writes it
    with pytest.warns(UserWarning, match="one file"):
        slides = read_slides(cohort("slide_id,path,label\n1,pr\u00e9.png,x\n2,pre\u0301.png,pre\u0301\n"))
    assert open_slide(slides.path[0]).kind == "image" and slides.label[1] == "pr\u00e9"


@pytest.mark.parametrize("sep", [";", "\t"])
def test_other_separators(cohort, sep):
    assert len(read_slides(cohort(f"slide_id{sep}path{sep}label\n1{sep}a.png{sep}x\n"))) == 1


def test_defaults(cohort):
    slides = read_slides(cohort("slide_id,path,label\n1,a.png,x\n2,c.png,y\n"))
    assert list(slides.patient_id) == ["1", "2"] and slides.mpp.isna().all()
    slides = read_slides(cohort("slide_id,path\n1,a.png\n"), need_label=False)
    assert slides.label.isna().all()
    slides = read_slides(cohort.folder / "a.png", need_label=False)
    assert list(slides.slide_id) == ["a"]


@pytest.mark.parametrize("text,words", [
    ("", ["no slides"]),
    ("slide_id,path,label\n", ["no slides"]),
    ("slide_id,path\n1,a.png\n", ["'label' is missing"]),
    ("id,path,label\n1,a.png,x\n", ["'slide_id' is missing", "'id'"]),
    ("slide_id,path,label\n1,a.png,x\n1,c.png,y\n", ["'1'", "lines 2, 3"]),
    ("slide_id,path,label\n1,a.png,x\n2,,y\n", ["line 3", "path is empty"]),
    ("slide_id,path,label\n1,a.png,\n", ["line 2", "label is empty"]),
    ("slide_id,path,label,patient_id\n1,a.png,x,p\n2,c.png,y,\n", ["line 3", "patient_id is empty"]),
    ("slide_id,path,label,split\n1,a.png,x,Train\n", ["line 2", "'Train'", "train, valid, test"]),
    ("slide_id,path,label,mpp\n1,a.png,x,20x\n", ["line 2", "'20x'", "0.5"]),
    ("slide_id,path,label\n1,a.png,x\n2,d.png,y\n3,e.png,y\n", ["line 3", "d.png", "1 more"]),
    ("slide_id,path,label,annotations\n1,a.png,x,a.geojson\n", ["line 2", "a.geojson"]),
    ("slide_id,path,label\n1,a.png,x,y\n", ["line 2", "4 cells", "3"]),
    ("slide_id,path,label,label\n1,a.png,x,y\n", ["'label'", "twice"]),
])
def test_csv_mistakes(cohort, text, words):
    sentence(cohort(text), *words, call=read_slides)


def test_other_mistakes(cohort, tmp_path):
    (tmp_path / "latin.csv").write_bytes("slide_id,path,label\n1,a.png,é\n".encode("latin-1"))
    sentence(tmp_path / "latin.csv", "UTF-8", call=read_slides)
    sentence(tmp_path / "no.csv", "no such file", call=read_slides)
    sentence(tmp_path / "a.png", "slides.csv", call=read_slides)
    sentence(tmp_path / "deep" / "er", "no class folders", call=read_slides)
    (tmp_path / "void").mkdir()
    sentence(tmp_path / "void", "no class folders", call=read_slides)
    (tmp_path / "top" / "normal").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no slides"):
        read_slides(tmp_path / "top")


def test_one_file_twice_is_told(cohort):
    with pytest.warns(UserWarning, match="one file"):
        read_slides(cohort("slide_id,path,label\n1,a.png,x\n2,a.png,y\n"))


def test_class_folders(tmp_path, noise):
    for name in ("x/a.png", "x/.b.png", "y z/bag/1.png", "y z/bag/2.png", ".hidden/a.png", "__MACOSX/a.png", "y z/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[:64, :64]).save(tmp_path / name)
    (tmp_path / "x" / "notes.txt").write_text("")
    (tmp_path / "y z" / "m.mrxs").write_text("")
    (tmp_path / "y z" / "m").mkdir()
    slides = read_slides(tmp_path, slide_mpp=0.5)
    assert list(slides.slide_id) == ["x/a", "y z/a", "y z/bag", "y z/m"]
    assert list(slides.label) == ["x", "y z", "y z", "y z"] and (slides.mpp == 0.5).all()
    shutil.copy(tmp_path / "x/a.png", tmp_path / "x/a.jpg")
    with pytest.raises(InputError, match="'x/a'"):
        read_slides(tmp_path)


def test_real_cohorts(real):
    slides = read_slides(real / "breakhis_bags")
    assert slides.label.value_counts().to_dict() == {"malignant": 17, "benign": 6}
    assert pd.Series([open_slide(p).kind for p in slides.path]).eq("bag").all()
