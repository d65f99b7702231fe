use image::{ImageBuffer, LumaA, Rgb, RgbImage, Rgba};
use ndarray::{Array3, array};

use super::*;

#[test]
fn sixteen_bits_stay_sixteen() {
    let image = ImageBuffer::from_fn(3, 2, |x, y| Luma([(60_000 + 10 * y + x) as u16]));
    let volume = read_bytes("a.png", &png(image)).unwrap();
    let expected = array![[
        [60_000.0, 60_001.0, 60_002.0],
        [60_010.0, 60_011.0, 60_012.0]
    ]];
    assert_eq!(volume.plane(0), expected);
    assert_eq!((volume.slices(), volume.spacing_mm()), (1, None));
}

#[test]
fn colour_gives_three_channels_and_alpha_is_dropped() {
    let rgb = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8, 100, 7]));
    let rgba = ImageBuffer::from_fn(2, 1, |x, _| Rgba([x as u8, 100, 7, 3]));
    let expected: Array3<f32> = array![[[0.0, 1.0]], [[100.0, 100.0]], [[7.0, 7.0]]];
    assert_eq!(read_bytes("a.png", &png(rgb)).unwrap().plane(0), expected);
    assert_eq!(read_bytes("b.png", &png(rgba)).unwrap().plane(0), expected);
    let grey = ImageBuffer::from_fn(2, 1, |x, _| LumaA([300 + x as u16, 9]));
    assert_eq!(
        read_bytes("c.png", &png(grey)).unwrap().plane(0),
        array![[[300.0, 301.0]]]
    );
}

/// A TIFF as `image` writes it.
fn tiff(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image
        .into()
        .write_to(&mut bytes, image::ImageFormat::Tiff)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn a_tiff_of_one_page_is_read() {
    let grey = ImageBuffer::from_fn(3, 2, |x, y| Luma([1000 * y as u16 + x as u16]));
    let bytes = tiff(grey.clone());
    let expected = array![[[0.0, 1.0, 2.0], [1000.0, 1001.0, 1002.0]]];
    assert_eq!(read_bytes("a.tif", &bytes).unwrap().plane(0), expected);
    let colour = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8, 100, 7]));
    let volume = read_bytes("a.tif", &tiff(colour)).unwrap();
    assert_eq!(volume.plane(0)[[1, 0, 1]], 100.0);
    for length in 0..bytes.len() {
        refusal("a.tif", &bytes[..length]);
    }
    // The directory of a second page, at the end.
    let directory = u32::from_le_bytes(*bytes[4..].first_chunk().unwrap()) as usize;
    let entries = usize::from(u16::from_le_bytes(
        *bytes[directory..].first_chunk().unwrap(),
    ));
    let mut pages = bytes.clone();
    pages[directory + 2 + 12 * entries] = 8;
    assert!(refusal("a.tif", &pages).contains("several pages"));
}

#[test]
fn damaged_rasters_are_refused() {
    let image = png(GrayImage::from_fn(64, 64, |x, y| Luma([(x ^ y) as u8])));
    let data = image.windows(4).position(|word| word == b"IDAT").unwrap();
    let length = u32::from_be_bytes(*image[data - 4..].first_chunk().unwrap()) as usize;
    let mut wrong = image.clone();
    wrong[data + 4 + length] ^= 0xff;
    assert!(refusal("crc.png", &wrong).contains("damaged"));
    assert!(refusal("cut.png", &image[..data + 40]).contains("damaged"));
    let jpeg = jpeg();
    assert_eq!(read_bytes("a.jpg", &jpeg).unwrap().shape(0)[0], 1);
    assert!(refusal("cut.jpg", &jpeg[..jpeg.len() / 2]).contains("end marker"));
}

#[test]
fn huge_rasters_are_refused_by_their_header() {
    let mut image = png(GrayImage::new(1, 1));
    image[16..20].copy_from_slice(&40_000u32.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&image[12..29]);
    image[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    assert!(refusal("wide.png", &image).contains("32767 pixels"));
}

#[test]
fn labels_may_be_floats_that_are_nearly_whole() {
    let with = |values: [f32; 2]| {
        let voxels = values.map(f32::to_le_bytes).concat();
        read_bytes(
            "m.nii",
            &[header([2, 1, 2, 1, 1, 1, 1, 1], 16), voxels].concat(),
        )
        .unwrap()
    };
    assert_eq!(
        with([2.0005, 65535.0]).label_plane(0).unwrap(),
        array![[2, 65535]]
    );
    for wrong in [0.5, -1.0, 65536.0, f32::NAN] {
        let text = with([1.0, wrong]).label_plane(0).unwrap_err().to_string();
        assert!(
            text.contains("m.nii") && text.contains("\nhint: save the mask"),
            "{text}"
        );
    }
}

#[test]
fn a_mask_in_three_equal_channels_is_grey() {
    let mut mask = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8; 3]));
    assert_eq!(
        read_bytes("m.png", &png(mask.clone()))
            .unwrap()
            .label_plane(0)
            .unwrap(),
        array![[0, 1]]
    );
    mask.put_pixel(0, 0, Rgb([1, 0, 0]));
    let error = read_bytes("m.png", &png(mask))
        .unwrap()
        .label_plane(0)
        .unwrap_err();
    assert!(error.to_string().contains("coloured"), "{error}");
}
