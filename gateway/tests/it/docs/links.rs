//! Every relative link in every page leads to a file, and to a heading in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::project::{files_below, project, read};

/// A page without what stands in fences.
fn prose(text: &str) -> String {
    let mut fence = None;
    let mut prose = String::new();
    for line in text.lines() {
        let mark = line.trim_start();
        let ticks = mark.len() - mark.trim_start_matches('`').len();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(open) if ticks >= open && mark.trim_matches('`').trim().is_empty() => fence = None,
            Some(_) => {}
            None => {
                prose += line;
                prose.push('\n');
            }
        }
    }
    prose
}

/// The targets of links and pictures.
fn links(prose: &str) -> Vec<String> {
    prose.split("](").skip(1).filter_map(|part| part.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(prose: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = prose.lines().filter(|line| line.starts_with('#') && line.trim_start_matches('#').starts_with(' '));
    let mut anchors = Vec::new();
    for heading in headings {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        // Of a link in a heading only the text counts.
        let text = text
            .split("](")
            .enumerate()
            .map(|(at, part)| if at == 0 { part } else { part.split_once(')').map_or(part, |(_, rest)| rest) });
        let slug: String = text
            .collect::<String>()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let again = seen.entry(slug.clone()).or_default();
        anchors.push(if *again == 0 { slug } else { format!("{slug}-{again}") });
        *again += 1;
    }
    anchors
}

/// Without `.` and `..`; `None` when it leads out of the project.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain.starts_with(project()).then_some(plain)
}

/// Why a link leads nowhere.
fn wrong(page: &Path, target: &str) -> Option<&'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let whole = match path {
        "" => Some(page.to_owned()),
        path => plain(&page.parent().unwrap().join(path)),
    };
    let Some(whole) = whole.filter(|whole| whole.exists()) else { return Some("no such file") };
    if anchor.is_empty() {
        return None;
    }
    if whole.extension().is_none_or(|extension| extension != "md") {
        return Some("an anchor in something that is no page");
    }
    let is_there = anchors(&prose(&fs::read_to_string(&whole).unwrap())).iter().any(|own| own == anchor);
    (!is_there).then_some("no such heading")
}

fn is_elsewhere(target: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    files_below(&project(), "md", &mut pages);
    pages
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let (mut count, mut broken) = (0, Vec::new());
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).unwrap());
        for target in links(&text).into_iter().filter(|target| !is_elsewhere(target)) {
            count += 1;
            if let Some(why) = wrong(&page, &target) {
                broken.push(format!("{}: {target}: {why}", page.strip_prefix(project()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 200, "{count} links");
}

#[test]
fn a_link_that_leads_nowhere_is_noticed() {
    let page = project().join("docs/ARCHITECTURE.md");
    for (target, why) in [
        ("security.md", None),
        ("security.md#cookies", None),
        ("#the-map", None),
        ("decisions", None),
        ("../LICENSE", None),
        ("absent.md", Some("no such file")),
        ("../../absent.md", Some("no such file")),
        ("security.md#Cookies", Some("no such heading")),
        ("#absent", Some("no such heading")),
        ("../LICENSE#x", Some("an anchor in something that is no page")),
    ] {
        assert_eq!(wrong(&page, target), why, "{target}");
    }
    assert_eq!(links("[a](b) and [`c`](d.md#e)\n![f](g.png)"), ["b", "d.md#e", "g.png"]);
    let text = "# A `b`, c\n## A b c\n```\n# no heading\n```\n### `[[x.y_z]]`\n#no\n";
    assert_eq!(anchors(&prose(text)), ["a-b-c", "a-b-c-1", "xy_z"]);
}

/// Runbooks and decisions have an index of their own.
#[test]
fn the_map_has_every_page() {
    let map: Vec<_> = links(&prose(&read("docs/README.md")));
    let index = |folder: &str| {
        let page = project().join("docs").join(folder).join("README.md");
        links(&prose(&fs::read_to_string(page).unwrap()))
    };
    let (runbooks, decisions) = (index("runbooks"), index("decisions"));
    for page in pages() {
        let Ok(path) = page.strip_prefix(project().join("docs")) else { continue };
        let (path, name) = (path.to_str().unwrap(), path.file_name().unwrap().to_str().unwrap());
        let listed = match path.split_once('/') {
            _ if path == "README.md" => continue,
            Some(("runbooks", _)) if name != "README.md" => &runbooks,
            Some(("decisions", _)) if name != "README.md" => &decisions,
            _ => &map,
        };
        let wanted = if std::ptr::eq(listed, &map) { path } else { name };
        assert!(listed.iter().any(|target| target == wanted), "docs/{path} is on no map");
    }
    assert!(links(&read("README.md")).iter().any(|target| target == "docs/README.md"));
}
