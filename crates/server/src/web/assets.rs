//! Style, script and picture of the pages; part of the program.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;

/// 404 for a name that is none of ours. Browsers may keep it for an hour.
pub async fn show(_: App, name: String) -> Response {
    let Some((_, media, text)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = (*text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

const FILES: &[(&str, &str, &str)] = &[
    ("app.css", "text/css; charset=utf-8", include_str!("../../assets/app.css")),
    ("projects.js", "text/javascript; charset=utf-8", include_str!("../../assets/projects.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    type Colours = HashMap<&'static str, &'static str>;

    fn css() -> &'static str {
        super::FILES[0].2
    }

    /// The variables of the light and of the dark scheme.
    fn schemes() -> [(&'static str, Colours); 2] {
        let variables = |text: &'static str| -> Colours {
            let block = text.split_once(":root {").and_then(|(_, rest)| rest.split_once('}')).expect("variables").0;
            let pairs = block.split(';').filter_map(|line| line.trim().split_once(": "));
            pairs.filter(|(name, _)| name.starts_with("--")).collect()
        };
        let (light, dark) = css().split_once("@media (prefers-color-scheme: dark)").expect("two schemes");
        [("light", variables(light)), ("dark", variables(dark))]
    }

    /// Relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let digits: Vec<u32> = colour[1..].chars().map(|c| c.to_digit(16).expect("a digit")).collect();
        let channels = match digits[..] {
            [r, g, b] => [17 * r, 17 * g, 17 * b],
            [r, s, g, h, b, c] => [16 * r + s, 16 * g + h, 16 * b + c],
            _ => panic!("{colour}"),
        };
        let [r, g, b] = channels.map(|channel| match f64::from(channel) / 255.0 {
            low if low <= 0.04045 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The variables that a property of this kind is set to, anywhere.
    fn used(property: &str) -> Vec<&'static str> {
        let declarations = css().split(['{', ';', '}']).map(str::trim);
        let set = declarations.filter(|declaration| declaration.starts_with(property));
        set.filter_map(|declaration| declaration.split_once("var(")?.1.split_once(')')).map(|(name, _)| name).collect()
    }

    #[test]
    fn contrast_is_as_wcag_counts_it() {
        assert!((contrast("#000", "#ffffff") - 21.0).abs() < 1e-9);
        assert!((contrast("#767676", "#fff") - 4.54).abs() < 0.01);
    }

    #[test]
    fn borders_and_outlines_have_a_contrast_of_three() {
        let borders = [used("border"), used("outline")].concat();
        assert!(borders.contains(&"--line") && borders.contains(&"--accent"), "{borders:?}");
        for (scheme, colours) in schemes() {
            for border in &borders {
                for ground in ["--sheet", "--ground"] {
                    let contrast = contrast(colours[border], colours[ground]);
                    assert!(contrast >= 3.0, "{scheme}: {border} on {ground}: {contrast:.2}");
                }
            }
        }
    }

    /// So that no border has a colour that the test above does not see.
    #[test]
    fn borders_are_variables() {
        let declarations = css().split(['{', ';', '}']).map(str::trim);
        for border in declarations.filter(|one| one.starts_with("border") && !one.starts_with("border-radius")) {
            let (_, value) = border.split_once(": ").expect("a value");
            assert!(value == "0" || value.contains("var(--"), "{border}");
        }
    }

    #[test]
    fn text_has_a_contrast_of_four_and_a_half() {
        for (scheme, colours) in schemes() {
            for (ink, grounds) in [
                ("--ink", &["--sheet", "--ground", "--notice-ground"][..]),
                ("--faint", &["--sheet", "--ground"]),
                ("--accent", &["--sheet", "--ground"]),
                ("--accent-ink", &["--accent"]),
                ("--alert", &["--alert-ground"]),
            ] {
                for ground in grounds {
                    let contrast = contrast(colours[ink], colours[ground]);
                    assert!(contrast >= 4.5, "{scheme}: {ink} on {ground}: {contrast:.2}");
                }
            }
        }
    }
}
