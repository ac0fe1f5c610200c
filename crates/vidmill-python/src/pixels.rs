//! From a decoder's planes to an array's bytes.

use vidmill::image::{
    ChannelOrder, ElementType, Picture, Preprocess, ResizeMode, Size, TensorLayout, TensorSpec,
};
use vidmill::video::Frame;

use crate::error::Failure;

/// What an array holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rgb,
    Bgr,
    Gray,
    Yuv,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
            Self::Gray => "gray",
            Self::Yuv => "yuv",
        }
    }

    fn channels(self) -> Option<ChannelOrder> {
        match self {
            Self::Rgb => Some(ChannelOrder::Rgb),
            Self::Bgr => Some(ChannelOrder::Bgr),
            Self::Gray => Some(ChannelOrder::Gray),
            Self::Yuv => None,
        }
    }
}

impl std::str::FromStr for Format {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        let all = [Self::Rgb, Self::Bgr, Self::Gray, Self::Yuv];
        all.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            Failure::Value(format!("format \"{text}\" is unknown; choose one of: rgb, bgr, gray, yuv"))
        })
    }
}

/// Makes arrays of frames: their shape, and their bytes in one pass.
pub struct Pixels {
    pub format: Format,
    /// The size asked for; `None` keeps each frame's own.
    size: Option<Size>,
    /// For frames like the last one, to the size of its array.
    plan: Option<(Size, Preprocess)>,
    picture: Picture,
}

impl Pixels {
    pub fn new(format: Format, size: Option<(u32, u32)>) -> Result<Self, Failure> {
        let size = size.map(|(width, height)| Size::new(width, height));
        if size.is_some() && format == Format::Yuv {
            let message = "size cannot be given with format=\"yuv\": planes are given as decoded";
            return Err(Failure::Value(message.into()));
        }
        if let Some(Size { width, height }) = size
            && ![width, height].iter().all(|side| (1..=vidmill::image::MAX_SIDE).contains(side))
        {
            return Err(Failure::Value(format!(
                "size ({width}, {height}) is out of range: it is (width, height), each from 1 to {}",
                vidmill::image::MAX_SIDE
            )));
        }
        let picture = Picture::new(Size::new(1, 1), Default::default());
        Ok(Self { format, size, plan: None, picture })
    }

    fn size_of(&self, frame: &Frame) -> Size {
        self.size.unwrap_or_else(|| frame.planes().displayed_size())
    }

    /// The shape of a frame's array.
    pub fn shape(&self, frame: &Frame) -> Result<Vec<usize>, Failure> {
        let size = self.size_of(frame);
        let (width, height) = (size.width as usize, size.height as usize);
        match self.format {
            Format::Rgb | Format::Bgr => Ok(vec![height, width, 3]),
            Format::Gray => Ok(vec![height, width]),
            Format::Yuv if width % 2 == 0 && height % 2 == 0 => Ok(vec![height / 2 * 3, width]),
            Format::Yuv => Err(Failure::Value(format!(
                "a frame of {width}x{height} has no array of format \"yuv\", whose sides are even: use rgb, bgr or gray"
            ))),
        }
    }

    /// Fills a frame's array.
    pub fn write(&mut self, frame: &Frame, out: &mut [u8]) -> Result<(), Failure> {
        let Some(channels) = self.format.channels() else {
            frame.to_picture(&mut self.picture);
            let mut rest = out;
            for plane in self.picture.planes().data {
                let (to, after) = rest.split_at_mut_checked(plane.len()).ok_or_else(wrong_length)?;
                to.copy_from_slice(plane);
                rest = after;
            }
            return Ok(());
        };
        let (planes, size) = (frame.planes(), self.size_of(frame));
        let plan = match self.plan.take().filter(|(planned, plan)| *planned == size && plan.fits(&planes)) {
            Some(plan) => plan,
            None => (size, Preprocess::for_planes(&bytes_of(size, channels), &planes)?),
        };
        Ok(self.plan.insert(plan).1.run(&planes, out)?)
    }
}

fn wrong_length() -> Failure {
    Failure::Frame("the array is not of the frame's size; please report this as a bug".into())
}

/// 0 to 255, channels last: what NumPy and cv2 call an image.
fn bytes_of(size: Size, channels: ChannelOrder) -> TensorSpec {
    TensorSpec {
        size,
        element: ElementType::U8,
        layout: TensorLayout::Nhwc,
        channels,
        resize: ResizeMode::Stretch,
        pad: 0,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}
