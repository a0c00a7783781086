//! Layouts that are known, against what the code of accessors says. Two witnesses make a member
//! certain. A member without an accessor is taken from a layout alone, where every accessor agrees
//! with that layout.

use std::{cmp::Reverse, collections::BTreeMap};

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

/// What accessors said about each member.
pub type Code = BTreeMap<&'static str, Answer>;

/// What the accessor of a member said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Where it is.
    At(Offsets),
    /// Its code does not tell, and why: nobody else is believed.
    Silent(String),
    /// It is not in the file; this one.
    Absent(&'static str),
}

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

/// What the layouts have in common that agree most with what accessors said.
struct Closest {
    versions: String,
    agree: usize,
    differ: Vec<&'static str>,
    places: BTreeMap<&'static str, Offsets>,
}

impl Closest {
    /// Of two that agree with as much: nothing tells which it is.
    fn or(mut self, other: &Self) -> Self {
        self.versions = format!("{}; {}", self.versions, other.versions);
        self.places
            .retain(|name, place| other.places.get(name) == Some(place));
        self
    }
}

impl Layouts {
    /// The members of the struct, and the versions that have its layout.
    #[must_use]
    pub fn members(&self, code: &Code) -> (Option<String>, Vec<Member>) {
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
                versions: (*versions).to_owned(),
                agree: 0,
                differ: Vec::new(),
                places: self.of(versions).unwrap_or_default(),
            };
            for (name, _) in self.members {
                match (code.get(name), closest.places.get(name)) {
                    (Some(Answer::At(said)), Some(known)) if said.path == known.path => {
                        closest.agree += 1;
                    }
                    (Some(Answer::At(_)), _) => closest.differ.push(name),
                    _ => {}
                }
            }
            closest
        });
        let compared: Vec<_> = compared.collect();
        let rank = |closest: &Closest| (closest.agree, Reverse(closest.differ.len()));
        let best = compared.iter().map(rank).max()?;
        let equals = compared.into_iter().filter(|each| rank(each) == best);
        let closest = equals.reduce(|one, other| one.or(&other))?;
        let close = closest.agree >= self.witnesses && closest.agree > closest.differ.len();
        close.then_some(closest)
    }
}

fn finding(name: &str, code: Option<&Answer>, closest: Option<&Closest>) -> Finding {
    let unavailable = |reason: String| Finding::Unavailable { reason };
    let Some(closest) = closest else {
        return match code {
            Some(Answer::At(offsets)) => Finding::Binary(offsets.clone()),
            Some(Answer::Silent(reason)) => unavailable(reason.clone()),
            Some(Answer::Absent(accessor)) => {
                unavailable(format!("no {accessor}, and no known layout"))
            }
            None => unavailable("no accessor, and no known layout".to_owned()),
        };
    };
    let versions = &closest.versions;
    match (code, closest.places.get(name)) {
        (Some(Answer::Silent(reason)), _) => unavailable(reason.clone()),
        (Some(Answer::At(said)), Some(known)) if said.path == known.path => {
            Finding::BinaryAndTable(said.clone())
        }
        (Some(Answer::At(said)), Some(known)) => unavailable(format!(
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

    fn members(said: &[(&'static str, &[u32])]) -> (Option<String>, Vec<Finding>) {
        let said = said.iter().map(|(name, path)| (*name, at(path)));
        answered(&said.collect())
    }

    fn at(path: &[u32]) -> Answer {
        Answer::At(Offsets {
            path: path.to_owned(),
            width: 4,
            bits: None,
        })
    }

    fn answered(code: &Code) -> (Option<String>, Vec<Finding>) {
        let (version, members) = LAYOUTS.members(code);
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
        assert_eq!(version.as_deref(), Some("2"));
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
    fn where_an_accessor_is_silent_the_layout_does_not_speak_for_it() {
        let mut code = Code::from([("a", at(&[8])), ("b", at(&[16, 8]))]);
        code.insert("c", Answer::Absent("GET_C"));
        assert_eq!(answered(&code).1[2].offsets().unwrap().path, [32]);
        code.insert("c", Answer::Silent("GET_C: it loops".to_owned()));
        assert_eq!(answered(&code).1[2].offsets(), None);
    }

    #[test]
    fn of_layouts_that_agree_alike_only_what_they_have_in_common_counts() {
        let layouts = Layouts {
            versions: &[
                ("1", &[&[0], &[8], &[16], &[20]]),
                ("2", &[&[0], &[8], &[16], &[24]]),
            ],
            ..LAYOUTS
        };
        let code = Code::from([("a", at(&[0])), ("b", at(&[8]))]);
        let (versions, members) = layouts.members(&code);
        assert_eq!(versions.as_deref(), Some("1; 2"));
        assert_eq!(members[2].finding.offsets().unwrap().path, [16]);
        assert_eq!(members[3].finding.offsets(), None);
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
