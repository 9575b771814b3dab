import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image, ImageCms

from spikejax.errors import InputError
from spikejax.io.frame_source import open_frames
from spikejax.io.still_pictures import from_linear, read_still, to_linear, write_in_format
from tests.io.cmyk_profile import PRINTED, cmyk_profile, deep_cmyk_tiff, inks_of, printed_colours

RNG = np.random.default_rng(0)
SMOOTH = np.dstack([np.add.outer(np.arange(24) * 4, np.arange(32) * 3) + shift for shift in (0, 30, 60)]).astype(
    np.uint8
)
DEEP = RNG.integers(0, 65536, (24, 32, 4), dtype=np.uint16)
FLOATS = (RNG.random((24, 32, 4)) * 3).astype(np.float32)


def display_p3() -> bytes:
    """The bytes of a profile of RGB that is not sRGB: sRGB's, with red and blue exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red + 4 : red + 12], profile[blue + 4 : blue + 12] = (
        profile[blue + 4 : blue + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


def write_cmyk(path: Path, inks: UInt8[np.ndarray, "h w 4"], kind: str, profile: bytes) -> Path:
    """Writes amounts of inks as a TIFF of 8 or 16 bits, a JPEG of Adobe's inverted CMYK, or of YCCK."""
    if kind == "tiff 16":
        path = path.with_suffix(".tif")
        path.write_bytes(deep_cmyk_tiff(inks, profile))
        return path
    if kind == "tiff":
        path = path.with_suffix(".tif")
        Image.fromarray(inks, "CMYK").save(path, icc_profile=profile)
        return path
    # Pillow stores 255 - x of JPEG. YCCK is Y, Cb and Cr of 255 - C, 255 - M and 255 - Y of what is stored.
    ycc = np.array(Image.fromarray(inks[..., :3]).convert("YCbCr"))
    stored = inks if kind == "jpeg" else np.dstack([255 - ycc, inks[..., 3:]])
    path = path.with_suffix(".jpg")
    Image.fromarray(stored, "CMYK").save(path, quality=100, subsampling=0, icc_profile=profile)
    if kind == "jpeg ycck":
        content = bytearray(path.read_bytes())
        content[content.index(b"Adobe") + 11] = 2
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(("kind", "worst"), [("tiff", 1), ("tiff 16", 1), ("jpeg", 2), ("jpeg ycck", 5)])
def test_cmyk_by_its_profile(tmp_path: Path, kind: str, worst: int) -> None:
    """Catches a profile that is not used, inks that are inverted or exchanged, and YCCK that is taken for CMYK.

    What sixteen ways to print full inks look like is known from the inks, to half a level; JPEG and its Y, Cb and Cr
    round again. Mixtures are held against LittleCMS.
    """
    profile = cmyk_profile()
    full = (PRINTED * 255).astype(np.uint8).reshape(4, 4, 4).repeat(8, axis=0).repeat(8, axis=1)
    still = read_still(write_cmyk(tmp_path / "full", full, kind, profile))
    assert "CMYK was converted to sRGB by its profile" in still.note and still.profile is None
    assert ("16 bits became 8" in still.note) == (kind == "tiff 16")
    middles = still.frame[4::8, 4::8].reshape(16, 3)
    assert np.abs(middles - printed_colours()).max() <= worst
    plain = np.array(Image.fromarray(full, "CMYK").convert("RGB"))[4::8, 4::8].reshape(16, 3)
    assert np.abs(plain - printed_colours()).max() > 50  # or the test would tell nothing
    inks = inks_of(SMOOTH)
    mixed = read_still(write_cmyk(tmp_path / "mixed", inks, kind, profile)).frame
    by_littlecms = ImageCms.profileToProfile(
        Image.fromarray(inks, "CMYK"),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert by_littlecms is not None
    difference = np.abs(mixed.astype(int) - np.array(by_littlecms))
    assert difference.max() <= worst + 2 and difference.mean() < 1


def test_cmyk_without_a_profile(tmp_path: Path) -> None:
    """Catches Adobe's inverted CMYK as a negative, and the same with YCCK inside, which decoders confuse."""
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    cmyk.save(tmp_path / "a.jpg", quality=100, subsampling=0)
    cmyk.save(tmp_path / "a.tif")
    for name in ("a.jpg", "a.tif"):
        still = read_still(tmp_path / name)
        assert "CMYK" in still.note and still.frame.dtype == np.uint8
        assert np.abs(still.frame.astype(int) - SMOOTH).max() <= 6, name
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    content[content.index(b"Adobe") + 11] = 2
    (tmp_path / "ycck.jpg").write_bytes(content)
    assert read_still(tmp_path / "ycck.jpg").frame.shape == SMOOTH.shape


def test_lab(tmp_path: Path) -> None:
    """Catches L*a*b* that is taken for RGB."""
    lab = ImageCms.profileToProfile(
        Image.fromarray(SMOOTH), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.save(tmp_path / "a.tif")
    still = read_still(tmp_path / "a.tif")
    assert "L*a*b*" in still.note and np.abs(still.frame.astype(int) - SMOOTH).mean() < 2


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpg", "webp"])
def test_profiles_are_kept(tmp_path: Path, suffix: str) -> None:
    """Catches colours that shift because what says their meaning is lost."""
    profile = display_p3()
    write_in_format(tmp_path / f"a.{suffix}", SMOOTH, profile=profile)
    source = open_frames(tmp_path / f"*.{suffix}", own_depth=True)
    assert source.profile == profile and source.remarks == ()
    (frame,) = source
    assert np.abs(frame.astype(int) - SMOOTH).max() <= (6 if suffix == "jpg" else 0)
    if suffix == "png":
        write_in_format(tmp_path / "deep.png", DEEP, profile=profile)
        with Image.open(tmp_path / "deep.png") as picture:
            assert picture.info["icc_profile"] == profile


def test_another_profile(tmp_path: Path) -> None:
    """Catches pictures of one film in the colours of two profiles, of which the output can say one."""
    write_in_format(tmp_path / "0.png", SMOOTH)
    write_in_format(tmp_path / "1.png", SMOOTH, profile=display_p3())
    source = open_frames(tmp_path, own_depth=True)
    first, second = source
    np.testing.assert_array_equal(first, SMOOTH)
    assert not np.array_equal(second, SMOOTH)
    assert source.remarks == ("of 1 picture, their other ICC profile was converted to the first's",)


@pytest.mark.parametrize(
    ("name", "picture", "shape"),
    [
        ("a.png", SMOOTH[..., 0] > 90, 3),
        ("a.png", SMOOTH[..., 0], 3),
        ("a.png", np.dstack([SMOOTH, SMOOTH[..., 0]]), 4),
        ("a.webp", np.dstack([SMOOTH, SMOOTH[..., 0]]), 4),
        ("a.tiff", np.dstack([SMOOTH, SMOOTH[..., 0]]), 4),
        ("a.png", DEEP, 4),
        ("a.tiff", DEEP, 4),
        ("a.png", DEEP[..., :3], 3),
        ("a.png", DEEP[..., 0], 3),
    ],
)
def test_numbers_and_transparency_are_kept(tmp_path: Path, name: str, picture: np.ndarray, shape: int) -> None:
    """Catches a depth, a channel or transparency that is lost on the way in, or out again."""
    if picture.dtype == np.uint16 and picture.ndim == 3:
        assert cv2.imwrite(str(tmp_path / name), picture[..., [2, 1, 0, 3][: picture.shape[2]]])
    else:
        Image.fromarray(picture).save(tmp_path / name, **({"lossless": True, "exact": True} if "webp" in name else {}))
    still = read_still(tmp_path / name)
    wanted = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    wanted = np.dstack([wanted] * 3) if wanted.ndim == 2 else wanted
    np.testing.assert_array_equal(still.frame, wanted[..., :3])
    assert (still.alpha is not None) == (shape == 4)
    if still.alpha is not None:
        np.testing.assert_array_equal(still.alpha, wanted[..., 3])
        layers = np.dstack([still.frame, still.alpha])
        write_in_format(tmp_path / "again.png", layers)
        again = read_still(tmp_path / "again.png")
        np.testing.assert_array_equal(np.dstack([again.frame, again.alpha]), layers)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, orientation: int, deep: bool) -> None:
    """Catches a picture of 16 bits that is turned the other way than one of 8, or not at all."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(SMOOTH).save(tmp_path / "a.png", exif=exif)
    path = tmp_path / "a.png"
    if deep:
        encoded = cv2.imencode(".png", SMOOTH[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
        content = path.read_bytes()
        at = content.index(b"eXIf") - 4
        chunk = content[at : at + 12 + int.from_bytes(content[at : at + 4], "big")]
        path = tmp_path / "deep.png"
        path.write_bytes(encoded[:33] + chunk + encoded[33:])
    with Image.open(tmp_path / "a.png") as picture:
        from PIL import ImageOps

        wanted = np.array(ImageOps.exif_transpose(picture))
    frame = read_still(path).frame
    np.testing.assert_array_equal(frame // (257 if deep else 1), wanted)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("suffix", ["exr", "tiff"])
def test_floats_stay_linear(tmp_path: Path, suffix: str, count: int) -> None:
    """Catches light above 1 that is clipped, a curve where there is none, and exchanged channels."""
    path = tmp_path / f"a.{suffix}"
    layers = FLOATS[..., :count].copy()
    layers[..., 3:] /= 3
    write_in_format(path, layers)
    still = read_still(path, keep_floats=True)
    np.testing.assert_array_equal(still.frame, layers[..., :3])
    assert (still.alpha is not None) == (count == 4)
    sixteen = read_still(path)
    assert sixteen.frame.dtype == np.uint16 and "curve of sRGB" in sixteen.note
    np.testing.assert_allclose(sixteen.frame / 65535, from_linear(layers[..., :3]), atol=1e-5)


def test_the_curve_of_srgb() -> None:
    """Catches a curve that is not the standard's, or whose inverse is not one."""
    np.testing.assert_allclose(
        from_linear(np.float32([0, 0.0031308, 0.214041, 1, 7])), [0, 0.04045, 0.5, 1, 1], atol=1e-5
    )
    values = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(from_linear(to_linear(values)), values, atol=1e-6)


def test_an_exr_of_ordinary_pictures(tmp_path: Path) -> None:
    """Catches numbers with a curve in a format that is linear."""
    write_in_format(tmp_path / "a.exr", SMOOTH)
    np.testing.assert_allclose(read_still(tmp_path / "a.exr").frame / 65535, SMOOTH / 255, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "content"), [("a.exr", b"v/1\1"), ("a.tiff", b"II*\0"), ("a.heic", b"\0\0\0\x18ftypheic"), ("a.jpg", b"")]
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    """Catches the traceback of a decoder, and a file of a phone that is refused without what would help."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="extra heic|expected a picture"):
        read_still(tmp_path / name)


@pytest.mark.needs("heic")
def test_pictures_of_telephones(tmp_path: Path) -> None:
    """Catches HEIC that is refused although its reader is installed, and other colours of it."""
    import pillow_heif

    picture = np.full((32, 48, 3), (200, 100, 50), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(picture)).save(tmp_path / "a.heic", quality=-1)
    assert np.abs(read_still(tmp_path / "a.heic").frame.astype(int) - picture).max() <= 3


def test_a_folder_with_the_name_of_a_picture(tmp_path: Path) -> None:
    """Catches the traceback of a folder among pictures."""
    for name in ("a.exr", "a.tif", "a.png"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="expected a picture"):
            read_still(tmp_path / name)


def test_profiles_that_are_damaged(tmp_path: Path) -> None:
    """Catches a picture that is refused because of what nobody needs of it."""
    buffer: Any = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(buffer, "jpeg", icc_profile=b"\0" * 200, quality=100)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert "without a usable profile" in read_still(tmp_path / "a.jpg").note
