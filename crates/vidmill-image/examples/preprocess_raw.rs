//! Reads one raw frame (planes packed without padding) from standard input and writes its tensor to standard output,
//! or with `--repeat N` prints to standard error how long a pass takes. Made for comparing with other programs.
//!
//! `preprocess_raw --format yuv420p --size 1920x1080 --target 640x640 [--matrix bt709] [--range limited]
//!  [--siting left] [--rotation 90] [--mode letterbox] [--layout nchw] [--channels rgb] [--dtype f32] [--pad 114] [--scale 0.00392]
//!  [--mean a,b,c] [--std a,b,c] [--repeat N] [--crop left,top,width,height | --quad x,y,x,y,x,y,x,y]`
//!
//! With `--crop` or `--quad`, only a part of the frame is seen: cut out, or straightened between four corners.
//!
//! Formats: gray, yuv420p, yuv422p, yuv444p, yuv440p, yuv410p, yuv411p, gbrp, each also with 9 to 16 bits (yuv420p10le),
//! nv12, nv21, nv16, p010le, rgb24, bgr24, rgba, bgra.

#![allow(clippy::print_stderr, reason = "it is a command")]

use std::error::Error;
use std::io::{Read, Write};
use std::time::Instant;

use vidmill_image::{
    ChannelOrder, ChromaSiting, ColorMatrix, ColorRange, ColorSpec, Crop, Cutter, ElementType, Layout,
    PixelFormat, Planes, Preprocess, Quad, ResizeMode, Rotation, Size, TensorLayout, TensorSpec,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Request {
    format: PixelFormat,
    /// The frame's planes come in FFmpeg's order: green, blue, red.
    gbr: bool,
    size: Size,
    color: ColorSpec,
    rotation: Rotation,
    spec: TensorSpec,
    repeat: u32,
    part: Option<Part>,
}

enum Part {
    Crop(Crop),
    Quad([[f32; 2]; 4]),
}

fn main() -> Result<()> {
    let request = parse(std::env::args().skip(1))?;
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let planes = lend(&request, &bytes)?;
    let mut cutter = Cutter::default();
    let begin = Instant::now();
    let planes = match &request.part {
        None => planes,
        Some(Part::Crop(crop)) => cutter.cut(&planes, *crop)?,
        Some(Part::Quad(corners)) => {
            cutter.straighten(&planes, &Quad::new(*corners, planes.displayed_size())?)?
        }
    };
    if request.repeat > 0 && request.part.is_some() {
        eprintln!("cut: {:.3} ms", begin.elapsed().as_secs_f64() * 1e3);
    }
    let mut preprocess = Preprocess::for_planes(&request.spec, &planes)?;
    let mut out = vec![0; request.spec.item_bytes()];
    preprocess.run(&planes, &mut out)?;
    if request.repeat > 0 {
        report(&mut preprocess, &planes, &mut out, request.repeat)?;
    }
    std::io::stdout().lock().write_all(&out)?;
    Ok(())
}

fn report(preprocess: &mut Preprocess, planes: &Planes<'_>, out: &mut [u8], repeat: u32) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..repeat {
        let start = Instant::now();
        preprocess.run(planes, out)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let middle = times[times.len() / 2];
    eprintln!("{}: median {middle:.3} ms, best {:.3} ms", preprocess.simd_level(), times[0]);
    Ok(())
}

fn lend<'a>(request: &Request, bytes: &'a [u8]) -> Result<Planes<'a>> {
    let (mut data, mut stride): ([&[u8]; 3], _) = ([&[]; 3], [0; 3]);
    let mut rest = bytes;
    for plane in 0..request.format.plane_count() {
        let (rows, row) = request.format.plane_shape(plane, request.size);
        let (here, there) = rest.split_at_checked(rows * row).ok_or("the frame is too short")?;
        (data[plane], stride[plane], rest) = (here, row, there);
    }
    if !rest.is_empty() {
        return Err(format!("the frame holds {} bytes too many", rest.len()).into());
    }
    if request.gbr {
        data = [data[2], data[0], data[1]];
    }
    let Request { format, size, color, rotation, .. } = *request;
    Ok(Planes { format, size, color, rotation, data, stride })
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Request> {
    let mut request = Request {
        format: PixelFormat::YUV420P,
        gbr: false,
        size: Size::new(0, 0),
        color: ColorSpec::default(),
        rotation: Rotation::None,
        spec: TensorSpec::yolo(Size::new(640, 640)),
        repeat: 0,
        part: None,
    };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        apply(&mut request, &flag, &value).map_err(|error| format!("{flag} {value}: {error}"))?;
    }
    Ok(request)
}

fn apply(request: &mut Request, flag: &str, value: &str) -> Result<()> {
    let spec = &mut request.spec;
    match flag {
        "--format" => (request.format, request.gbr) = (pixel_format(value)?, value.starts_with("gbrp")),
        "--size" => request.size = size(value)?,
        "--target" => spec.size = size(value)?,
        "--matrix" => request.color.matrix = matrix(value)?,
        "--range" => {
            let names = [("limited", ColorRange::Limited), ("full", ColorRange::Full)];
            request.color.range = choose(value, &names)?;
        }
        "--siting" => {
            let names = [
                ("left", ChromaSiting::Left),
                ("center", ChromaSiting::Center),
                ("top-left", ChromaSiting::TopLeft),
                ("top", ChromaSiting::Top),
            ];
            request.color.siting = choose(value, &names)?;
        }
        "--rotation" => request.rotation = rotation(value)?,
        "--mode" => spec.resize = mode(value)?,
        "--layout" => {
            spec.layout = choose(value, &[("nchw", TensorLayout::Nchw), ("nhwc", TensorLayout::Nhwc)])?;
        }
        "--channels" => {
            let names =
                [("rgb", ChannelOrder::Rgb), ("bgr", ChannelOrder::Bgr), ("gray", ChannelOrder::Gray)];
            spec.channels = choose(value, &names)?;
        }
        "--dtype" => {
            let names = [("f32", ElementType::F32), ("f16", ElementType::F16), ("u8", ElementType::U8)];
            spec.element = choose(value, &names)?;
        }
        "--pad" => spec.pad = value.parse()?,
        "--scale" => spec.scale = value.parse()?,
        "--mean" => spec.mean = triple(value)?,
        "--std" => spec.std = triple(value)?,
        "--repeat" => request.repeat = value.parse()?,
        "--crop" => {
            let [left, top, width, height] = numbers(value)?;
            request.part = Some(Part::Crop(Crop { left, top, size: Size::new(width, height) }));
        }
        "--quad" => {
            let [a, b, c, d, e, f, g, h] = numbers(value)?;
            request.part = Some(Part::Quad([[a, b], [c, d], [e, f], [g, h]]));
        }
        _ => return Err("unknown flag".into()),
    }
    Ok(())
}

fn choose<T: Copy>(value: &str, names: &[(&str, T)]) -> Result<T> {
    names.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}", names.join(", ")).into()
    })
}

fn size(value: &str) -> Result<Size> {
    let (width, height) = value.split_once('x').ok_or("expected WIDTHxHEIGHT")?;
    Ok(Size::new(width.parse()?, height.parse()?))
}

fn numbers<T: std::str::FromStr<Err: Error + 'static>, const N: usize>(value: &str) -> Result<[T; N]> {
    let values: std::result::Result<Vec<T>, _> = value.split(',').map(str::parse).collect();
    values?.try_into().map_err(|_| format!("expected {N} numbers").into())
}

fn triple(value: &str) -> Result<[f32; 3]> {
    let values: std::result::Result<Vec<f32>, _> = value.split(',').map(str::parse).collect();
    values?.try_into().map_err(|_| "expected three numbers".into())
}

fn matrix(value: &str) -> Result<ColorMatrix> {
    choose(
        value,
        &[
            ("bt601", ColorMatrix::Bt601),
            ("bt709", ColorMatrix::Bt709),
            ("bt2020", ColorMatrix::Bt2020),
            ("fcc", ColorMatrix::Fcc),
            ("smpte240m", ColorMatrix::Smpte240m),
        ],
    )
}

fn rotation(value: &str) -> Result<Rotation> {
    choose(
        value,
        &[
            ("0", Rotation::None),
            ("90", Rotation::Clockwise),
            ("180", Rotation::Half),
            ("270", Rotation::CounterClockwise),
        ],
    )
}

fn mode(value: &str) -> Result<ResizeMode> {
    choose(
        value,
        &[
            ("letterbox", ResizeMode::Letterbox),
            ("letterbox-top-left", ResizeMode::LetterboxTopLeft),
            ("stretch", ResizeMode::Stretch),
            ("center-crop", ResizeMode::CenterCrop),
            ("fit-height", ResizeMode::FitHeight),
        ],
    )
}

fn pixel_format(name: &str) -> Result<PixelFormat> {
    let packed = |channels, r, g, b| Layout::RgbPacked { channels, r, g, b };
    let semi = |log2_chroma_h, swap_uv| Layout::YuvSemiPlanar { log2_chroma_w: 1, log2_chroma_h, swap_uv };
    let planar = |log2_chroma_w, log2_chroma_h| Layout::YuvPlanar { log2_chroma_w, log2_chroma_h };
    let eight = |layout| Ok(PixelFormat { layout, bits: 8, shift: 0 });
    match name {
        "nv12" => return eight(semi(1, false)),
        "nv21" => return eight(semi(1, true)),
        "nv16" => return eight(semi(0, false)),
        "p010le" => return Ok(PixelFormat::P010),
        "rgb24" => return eight(packed(3, 0, 1, 2)),
        "bgr24" => return eight(packed(3, 2, 1, 0)),
        "rgba" => return eight(packed(4, 0, 1, 2)),
        "bgra" => return eight(packed(4, 2, 1, 0)),
        _ => {}
    }
    let families = [
        ("gray", Layout::Gray),
        ("gbrp", Layout::RgbPlanar),
        ("yuv420p", planar(1, 1)),
        ("yuv422p", planar(1, 0)),
        ("yuv444p", planar(0, 0)),
        ("yuv440p", planar(0, 1)),
        ("yuv410p", planar(2, 2)),
        ("yuv411p", planar(2, 0)),
    ];
    let (family, layout) =
        families.into_iter().find(|(family, _)| name.starts_with(family)).ok_or("unknown pixel format")?;
    let bits = match name[family.len()..].trim_end_matches("le") {
        "" => 8,
        bits => bits.parse()?,
    };
    Ok(PixelFormat { layout, bits, shift: 0 })
}
