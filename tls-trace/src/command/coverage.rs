//! Which processes use TLS, and whether their library can be asked about it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    discover::{library, process::comm},
    inspect::Coverage,
    sink::escaped,
};

/// Names listed for each kind of process.
const NAMES: usize = 6;

/// All running processes, by what covers them.
#[derive(Debug, Serialize)]
pub struct Processes {
    groups: Vec<Group>,
    /// Files that could not be inspected, by error.
    errors: BTreeMap<&'static str, u64>,
}

/// Processes with the same libraries.
#[derive(Debug, Serialize)]
struct Group {
    #[serde(flatten)]
    coverage: Coverage,
    count: u64,
    /// How many have which name, the most frequent first. Empty for those without TLS.
    names: Vec<(String, u64)>,
}

impl Processes {
    /// Looks at all of them.
    pub fn look() -> Self {
        let coverages = library::look_around();
        let processes = coverages.all().into_iter();
        // One that just ended has no name.
        let named = processes.filter_map(|(pid, coverage)| Some((coverage, comm(pid)?)));
        Self {
            groups: group(named),
            errors: coverages.errors(),
        }
    }
}

fn group(processes: impl Iterator<Item = (Coverage, String)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut names: Vec<BTreeMap<String, u64>> = Vec::new();
    for (coverage, name) in processes {
        let index = groups.iter().position(|group| group.coverage == coverage);
        let index = index.unwrap_or_else(|| {
            groups.push(Group {
                coverage,
                count: 0,
                names: Vec::new(),
            });
            names.push(BTreeMap::new());
            groups.len() - 1
        });
        groups[index].count += 1;
        *names[index].entry(name).or_default() += 1;
    }
    for (group, names) in groups.iter_mut().zip(names) {
        if group.coverage != Coverage::NoTls {
            group.names = names.into_iter().collect();
            group
                .names
                .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        }
    }
    groups.sort_by_key(|group| (rank(&group.coverage), std::cmp::Reverse(group.count)));
    groups
}

fn rank(coverage: &Coverage) -> u8 {
    match coverage {
        Coverage::Covered { .. } => 0,
        Coverage::WireOnly { .. } => 1,
        Coverage::NoTls => 2,
    }
}

impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            let plural = if group.count == 1 { "" } else { "es" };
            write!(f, "{} process{plural} {}", group.count, group.coverage)?;
            for (index, (name, count)) in group.names.iter().take(NAMES).enumerate() {
                let lead = if index == 0 { ": " } else { ", " };
                write!(f, "{lead}{}", escaped(name))?;
                if *count > 1 {
                    write!(f, " ({count})")?;
                }
            }
            if group.names.len() > NAMES {
                write!(f, ", …")?;
            }
            writeln!(f)?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "{count} files not inspected: {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Family, Reason};

    #[test]
    fn processes_are_grouped_by_what_covers_them() {
        let openssl = Coverage::Covered {
            by: vec![Family::OpensslSsl],
            except: Vec::new(),
        };
        let rustls = Coverage::WireOnly {
            why: vec![Reason::Rustls],
        };
        let processes = [
            (Coverage::NoTls, "sh"),
            (rustls, "proxy\x1b[31m"),
            (openssl.clone(), "curl"),
            (openssl.clone(), "nginx"),
            (openssl, "nginx"),
            (Coverage::NoTls, "sh"),
        ];
        let processes = processes.map(|(coverage, name)| (coverage, name.to_owned()));
        let shown = Processes {
            groups: group(processes.into_iter()),
            errors: [("truncated", 1)].into(),
        };
        assert_eq!(
            shown.to_string(),
            "3 processes covered by openssl_ssl: nginx (2), curl\n\
             1 process wire only: rustls: proxy\\u{1b}[31m\n\
             2 processes no TLS\n\
             1 files not inspected: truncated\n"
        );
    }
}
