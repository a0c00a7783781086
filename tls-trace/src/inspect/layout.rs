//! Layouts that are known, against what the code of accessors says. Two witnesses make a member
//! certain. A member without an accessor is taken from a layout alone, where every accessor agrees
//! with that layout.

use std::collections::BTreeMap;

use super::{Elf, Error, Finding, Member, Offsets, accessor::Accessor, symbols::Symbols};

/// Known layouts of a struct.
pub struct Layouts {
    /// Names of its members, and the bytes of each.
    pub members: &'static [(&'static str, u8)],
    /// For each range of versions the paths of the members, in the same order; empty: has no such.
    pub versions: &'static [(&'static str, &'static [&'static [u16]])],
    /// Accessors that must agree with a layout before anything is taken from it.
    pub witnesses: usize,
}

/// What accessors said about each member; the reason where they said nothing.
pub type Code = BTreeMap<&'static str, Result<Offsets, String>>;

/// Asks every accessor.
///
/// # Errors
/// The file cannot be read.
pub fn ask(elf: &Elf, symbols: &Symbols, accessors: &[Accessor]) -> Result<Code, Error> {
    let answers = accessors
        .iter()
        .map(|accessor| Ok((accessor.member, accessor.find(elf, symbols)?)));
    answers.collect()
}

/// The layout that has most in common with what accessors said.
struct Closest {
    versions: &'static str,
    agree: usize,
    differ: Vec<&'static str>,
    places: BTreeMap<&'static str, Offsets>,
}

impl Layouts {
    /// The members of the struct, and the versions that have its layout.
    #[must_use]
    pub fn members(&self, code: &Code) -> (Option<&'static str>, Vec<Member>) {
        let closest = self.closest(code);
        let members = self.members.iter().map(|&(name, _)| Member {
            name,
            finding: finding(name, code.get(name), closest.as_ref()),
        });
        let members = members.collect();
        let same = closest.filter(|closest| closest.differ.is_empty());
        (same.map(|closest| closest.versions), members)
    }

    /// The members of the layout of those versions.
    #[must_use]
    pub fn of(&self, versions: &str) -> Option<BTreeMap<&'static str, Offsets>> {
        let (_, paths) = self.versions.iter().find(|(name, _)| *name == versions)?;
        let members = self.members.iter().zip(*paths);
        let members = members.filter(|(_, path)| !path.is_empty());
        let members = members.map(|(&(name, width), path)| {
            let path = path.iter().map(|offset| u32::from(*offset)).collect();
            let bits = None;
            (name, Offsets { path, width, bits })
        });
        Some(members.collect())
    }

    /// None where no layout agrees with enough, or with more than it differs from.
    fn closest(&self, code: &Code) -> Option<Closest> {
        let compared = self.versions.iter().map(|(versions, _)| {
            let mut closest = Closest {
                versions,
                agree: 0,
                differ: Vec::new(),
                places: self.of(versions).unwrap_or_default(),
            };
            for (name, _) in self.members {
                match (code.get(name), closest.places.get(name)) {
                    (Some(Ok(said)), Some(known)) if said.path == known.path => closest.agree += 1,
                    (Some(Ok(_)), _) => closest.differ.push(name),
                    _ => {}
                }
            }
            closest
        });
        let closest = compared.max_by_key(|closest| closest.agree)?;
        let close = closest.agree >= self.witnesses && closest.agree > closest.differ.len();
        close.then_some(closest)
    }
}

fn finding(
    name: &str,
    code: Option<&Result<Offsets, String>>,
    closest: Option<&Closest>,
) -> Finding {
    let unavailable = |reason: String| Finding::Unavailable { reason };
    let Some(closest) = closest else {
        return match code {
            Some(Ok(offsets)) => Finding::Binary(offsets.clone()),
            Some(Err(reason)) => unavailable(reason.clone()),
            None => unavailable("no accessor, and no known layout".to_owned()),
        };
    };
    let versions = closest.versions;
    match (code, closest.places.get(name)) {
        (Some(Ok(said)), Some(known)) if said.path == known.path => {
            Finding::BinaryAndTable(said.clone())
        }
        (Some(Ok(said)), Some(known)) => unavailable(format!(
            "its code says {}, the layout of {versions} {}",
            show(&said.path),
            show(&known.path),
        )),
        (_, None) => unavailable(format!("not in the layout of {versions}")),
        (_, Some(known)) if closest.differ.is_empty() => Finding::Table(known.clone()),
        (_, Some(_)) => unavailable(format!(
            "not quite the layout of {versions}: elsewhere is {}",
            closest.differ.join(", "),
        )),
    }
}

fn show(path: &[u32]) -> String {
    let path: Vec<_> = path.iter().map(|offset| format!("{offset:#x}")).collect();
    path.join("→")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUTS: Layouts = Layouts {
        members: &[("a", 4), ("b", 8), ("c", 4), ("d", 4)],
        versions: &[
            ("1", &[&[0], &[8], &[16], &[20]]),
            ("2", &[&[8], &[16, 8], &[32], &[]]),
        ],
        witnesses: 2,
    };

    fn members(said: &[(&'static str, &[u32])]) -> (Option<&'static str>, Vec<Finding>) {
        let offsets = |path: &[u32]| Offsets {
            path: path.to_owned(),
            width: 4,
            bits: None,
        };
        let code = said.iter().map(|(name, path)| (*name, Ok(offsets(path))));
        let (version, members) = LAYOUTS.members(&code.collect());
        let findings = members.into_iter().map(|member| member.finding);
        (version, findings.collect())
    }

    fn paths(findings: &[Finding]) -> Vec<Option<&[u32]>> {
        let offsets = findings.iter().map(Finding::offsets);
        offsets.map(|offsets| Some(&offsets?.path[..])).collect()
    }

    #[test]
    fn members_without_accessor_come_from_a_layout_that_all_accessors_agree_on() {
        let (version, found) = members(&[("a", &[8]), ("b", &[16, 8])]);
        assert_eq!(version, Some("2"));
        assert_eq!(
            paths(&found),
            [Some(&[8][..]), Some(&[16, 8]), Some(&[32]), None]
        );
        assert!(matches!(found[0], Finding::BinaryAndTable(_)));
        assert!(matches!(found[2], Finding::Table(_)));
    }

    #[test]
    fn what_contradicts_the_layout_is_unavailable_and_so_is_what_nothing_else_proves() {
        let (version, found) = members(&[("a", &[0]), ("b", &[8]), ("c", &[24])]);
        assert_eq!(version, None);
        assert_eq!(paths(&found), [Some(&[0][..]), Some(&[8]), None, None]);
    }

    #[test]
    fn of_an_unknown_layout_only_what_code_says_is_known() {
        let (version, found) = members(&[("a", &[4]), ("b", &[12]), ("c", &[16])]);
        assert_eq!(version, None);
        assert_eq!(
            paths(&found),
            [Some(&[4][..]), Some(&[12]), Some(&[16]), None]
        );
        assert!(matches!(found[2], Finding::Binary(_)));
    }
}
