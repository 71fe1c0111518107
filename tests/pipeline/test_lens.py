"""What files tell of their lens: read back from files that other libraries wrote."""

import av
import numpy as np
import pytest
from PIL import Image

from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.file import VideoFile
from posepipe.pipeline.source.images import ImageSequence
from posepipe.pipeline.source.lens import lens_of

APPLE = "com.apple.quicktime.camera.focal_length.35mm_equivalent"


def film(path, size=(640, 480), tags=None, stream_tags=None):
    options = {} if path.suffix == ".mkv" else {"movflags": "use_metadata_tags"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", 25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        container.metadata.update(tags or {})
        stream.metadata.update(stream_tags or {})
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((*size[::-1], 3), np.uint8))))
        container.mux(stream.encode())
    return path


def picture(path, size=(600, 400), **tags):
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    codes = {"focal": 0x920A, "equivalent": 0xA405, "density": 0xA20E, "unit": 0xA210, "across": 0xA002}
    exif.get_ifd(0x8769).update({codes[name]: value for name, value in tags.items()})
    Image.new("RGB", size).save(path, exif=exif)
    return path


def camera_of(path, **settings):
    with VideoFile(path) as video:
        info = video.info
        return RunSettings(**settings).camera(info.width, info.height, info.lens)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_the_focal_length_that_a_phone_writes_into_its_video(tmp_path, name):
    """4:3: the whole sensor, whose diagonal is as long as 43.27 mm."""
    camera = camera_of(film(tmp_path / name, tags={APPLE: "26"}))
    assert camera.fx == camera.fy == pytest.approx(26 / np.hypot(36, 24) * np.hypot(640, 480), rel=1e-6)
    assert (camera.origin, camera.assumed) == ("from the file", False)
    assert "26 mm equivalent" in camera.described
    assert "from the file" in camera.described


def test_a_tag_of_the_stream_counts_too(tmp_path):
    assert camera_of(film(tmp_path / "a.mkv", stream_tags={APPLE: "52"})).fov_deg == pytest.approx(36.8, abs=0.1)


def test_a_wide_video_is_a_cut_of_the_full_width_of_a_phones_sensor(tmp_path):
    """The same width of the same sensor, so the same angle, upright or lying."""
    whole = camera_of(film(tmp_path / "a.mp4", (640, 480), {APPLE: "26"}))
    cut = camera_of(film(tmp_path / "b.mp4", (640, 360), {APPLE: "26"}))
    upright = camera_of(film(tmp_path / "c.mp4", (360, 640), {APPLE: "26"}))
    assert cut.fov_deg == upright.fov_deg == pytest.approx(whole.fov_deg)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_of_a_picture(tmp_path, name):
    """A 3:2 picture's 35 mm equivalent is that of 36 x 24 mm film: 50 mm sees 2 atan(18 / 50)."""
    camera = camera_of(picture(tmp_path / name, equivalent=50))
    assert camera.fov_deg == pytest.approx(2 * np.degrees(np.arctan(18 / 50)), abs=0.05)
    assert camera.origin == "from the file"


def test_exif_without_an_equivalent_but_with_the_sensors_size(tmp_path):
    """22.5 mm across 600 pixels, an APS-C camera with 35 mm: 2 atan(11.25 / 35)."""
    camera = camera_of(picture(tmp_path / "a.jpg", focal=35.0, density=600 / 2.25, unit=3, across=600))
    assert camera.fov_deg == pytest.approx(2 * np.degrees(np.arctan(11.25 / 35)), abs=0.05)


def test_a_folder_of_pictures_says_what_its_first_one_says(tmp_path):
    for i in (1, 2):
        picture(tmp_path / f"{i}.jpg", focal=35.0, density=600 / 2.25, unit=3, across=600)
    with ImageSequence(tmp_path) as images:
        assert images.info.lens.fov_deg == pytest.approx(2 * np.degrees(np.arctan(11.25 / 35)), abs=0.05)
    Image.new("RGB", (64, 64)).save(tmp_path / "0.png")
    with ImageSequence(tmp_path) as images:
        assert images.info.lens is None


def test_what_the_user_says_goes_before_what_the_file_says(tmp_path):
    path = film(tmp_path / "a.mp4", tags={APPLE: "26"})
    camera = camera_of(path, fov_deg=50.0)
    assert (camera.fov_deg, camera.origin) == (pytest.approx(50), "given")


def test_a_file_that_says_nothing_gets_the_assumption_and_the_line_says_so(tmp_path):
    camera = camera_of(film(tmp_path / "a.mp4"))
    assert (camera.origin, camera.assumed, camera.fov_deg) == ("assumed", True, pytest.approx(60))
    assert "give --fov or --intrinsics" in camera.described


@pytest.mark.parametrize(("code", "bright"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_a_picture_with_exif_is_upright(tmp_path, code, bright):
    """EXIF orientation 6: the stored top left belongs at the top right, 8: at the bottom left, 3: opposite."""
    pixels = np.zeros((400, 600, 3), np.uint8)
    pixels[:100, :100] = 255
    exif = Image.Exif()
    exif[0x0112] = code
    exif.get_ifd(0x8769)[0xA405] = 50
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    with VideoFile(tmp_path / "a.jpg") as video:
        (frame,) = video
    height, width = frame.image.shape[:2]
    assert (width, height) == ((600, 400) if code in (1, 3) else (400, 600))
    row, column = (50 if bright[0] == 0 else height - 50), (50 if bright[1] == 0 else width - 50)
    assert frame.image[row, column].min() > 200
    assert np.median(frame.image) < 20


@pytest.mark.parametrize("text", ["", " ", "wide", "0", "-26", "nan", "inf", "1e9", "1", "26/0", "/"])
def test_nonsense_is_not_believed(text):
    assert lens_of({APPLE: text}, 640, 480) is None


def test_ratios_and_spaces_as_ffmpeg_hands_exif_on():
    assert lens_of({"ExifIFD/FocalLengthIn35mmFilm": "     26"}, 640, 480) == lens_of({APPLE: "52/2"}, 640, 480)
