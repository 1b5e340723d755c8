//! QR codes of links: in the terminal, and as SVG for a slide or a printed page.

use std::fs;
use std::path::Path;

use qrcode::QrCode;
use qrcode::render::{svg, unicode};

use crate::terminal::{CommandError, counted};

/// Smaller codes are hard to photograph from the back of a room, in SVG units.
const SIZE: u32 = 320;

fn code(url: &str) -> Result<QrCode, CommandError> {
    QrCode::new(url).map_err(|error| {
        CommandError::failed(
            format_args!("a QR code cannot hold {url}: {error}"),
            "Use a shorter PUBLIC_URL, or the links as text",
        )
    })
}

/// The code as text, two modules a character. Full blocks are light: so it is right on a dark terminal, and telephones
/// read it the other way round, too.
pub(super) fn drawn(url: &str) -> Result<String, CommandError> {
    let colours = (unicode::Dense1x2::Light, unicode::Dense1x2::Dark);
    Ok(code(url)?.render::<unicode::Dense1x2>().dark_color(colours.0).light_color(colours.1).build())
}

/// Writes a code of each team: of one team into a file, else into a folder. Says what was written.
pub(super) fn write<'l>(
    path: &Path,
    is_one: bool,
    teacher: bool,
    links: impl Iterator<Item = (&'l str, &'l str)>,
) -> Result<String, CommandError> {
    let failed = |path: &Path, error: std::io::Error| {
        let advice = "Give --svg a file for one team (--prj) and a folder for several, where this user may write";
        CommandError::failed(format_args!("{} cannot be written: {error}", path.display()), advice)
    };
    let into_folder = !is_one || path.is_dir();
    if into_folder {
        fs::create_dir_all(path).map_err(|error| failed(path, error))?;
    }
    let mut written = 0;
    for (prj, url) in links {
        let drawn = code(url)?.render::<svg::Color<'_>>().min_dimensions(SIZE, SIZE).build();
        let name = if teacher { format!("{prj}-teacher.svg") } else { format!("{prj}.svg") };
        let file = if into_folder { path.join(name) } else { path.to_owned() };
        fs::write(&file, drawn).map_err(|error| failed(&file, error))?;
        written += 1;
    }
    Ok(format!("{} to {}", counted(written, "QR code", "QR codes"), path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_in_blocks_and_as_svg() {
        let url = "https://ld.example.edu/team/AMEP11Beats/0123456789abcdef0123456789abcdef";
        let text = drawn(url).unwrap();
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.len() > 15 && widths.iter().all(|width| *width == widths[0]), "{text}");
        let folder = std::env::temp_dir().join(format!("ld-qr-{}", std::process::id()));
        let said = write(&folder, false, true, [("A", url), ("B", url)].into_iter()).unwrap();
        let svg = fs::read_to_string(folder.join("A-teacher.svg")).unwrap();
        let is_there = folder.join("B-teacher.svg").exists();
        fs::remove_dir_all(&folder).unwrap();
        assert!(svg.contains("<svg") && is_there && said.starts_with("2 QR codes"), "{said}");
        assert!(write(Path::new("/nowhere/a.svg"), true, false, [("A", url)].into_iter()).is_err());
    }
}
