//! One image out of those of a place that may have one for each of several platforms.

use bulla_build::inspect::Image;
use bulla_model::Platform;

/// Gives the image that is meant: that of the platform where one is named; else the only one, or of an image for several
/// platforms that for the machine which builds. The error is how many there are to choose from.
pub(crate) fn one_of(mut images: Vec<Image>, wanted: Option<Platform>) -> Result<Image, usize> {
    let is_for = |image: &Image, platform: Platform| {
        image.config.os == platform.os() && image.config.architecture == platform.architecture()
    };
    let is_one = images.windows(2).all(|pair| matches!(pair, [one, other] if one.digest == other.digest));
    let own = Some(Platform::BUILD).filter(|own| is_one && images.iter().any(|image| is_for(image, *own)));
    if let Some(platform) = wanted.or(own) {
        images.retain(|image| is_for(image, platform));
    }
    match (images.pop(), images.len()) {
        (Some(image), 0) => Ok(image),
        (last, others) => Err(others + usize::from(last.is_some())),
    }
}
