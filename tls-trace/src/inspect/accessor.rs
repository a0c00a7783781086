//! Offsets of struct members out of the code of the functions that read them for others.

use std::collections::BTreeSet;

use super::{
    Elf, Error, Offsets,
    layout::Answer,
    symbolic::{self, Content, Root, Trace, Value},
    symbols::{Function, Symbols},
};

/// Offsets beyond this are in no struct of a TLS library.
const FARTHEST: i64 = 0x8000;

/// What an accessor does with the member, which is of the struct its first argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Returns it.
    Returns,
    /// Writes it to where that argument points.
    Writes(u8),
    /// The same, or in some cases another member that is further away.
    WritesNearest(u8),
    /// Copies bytes that begin there to where that argument points.
    Copies(u8),
    /// Writes the address of it to where that argument points.
    Points(u8),
    /// Sets it to that argument.
    Sets(u8),
    /// Reads it, and but for it only members whose accessors are these.
    ReadsWith(&'static [&'static str]),
    /// Reads it, and no other member of eight bytes.
    ReadsPointer,
}

/// A member and its accessor.
#[derive(Clone, Copy, Debug)]
pub struct Accessor {
    /// Name of the member.
    pub member: &'static str,
    /// Name of the function.
    pub function: &'static str,
    /// What it does.
    pub does: Does,
}

impl Accessor {
    /// One that returns the member.
    #[must_use]
    pub const fn returns(member: &'static str, function: &'static str) -> Self {
        Self::new(member, function, Does::Returns)
    }

    /// Any.
    #[must_use]
    pub const fn new(member: &'static str, function: &'static str, does: Does) -> Self {
        Self {
            member,
            function,
            does,
        }
    }

    /// Where the member is.
    ///
    /// # Errors
    /// The file cannot be read, or not so much of it.
    pub fn find(&self, elf: &Elf, symbols: &Symbols) -> Result<Answer, Error> {
        let Some(function) = symbols.function(self.function) else {
            return Ok(Answer::Absent(self.function));
        };
        let trace = symbolic::trace(elf, function)?;
        let beside = match self.does {
            Does::ReadsWith(others) => {
                let others = others.iter().filter_map(|other| symbols.function(other));
                reads_of(elf, others)?
            }
            _ => BTreeSet::new(),
        };
        let mut contents = candidates(self.does, &trace, &beside);
        if let Does::WritesNearest(_) = self.does {
            let nearest = contents
                .iter()
                .map(|content| content.at.pointers.len())
                .min();
            contents.retain(|content| Some(content.at.pointers.len()) == nearest);
        }
        Ok(match only(contents) {
            Ok(offsets) => Answer::At(offsets),
            Err(reason) => Answer::Silent(format!("{}: {reason}", self.function)),
        })
    }
}

fn reads_of(
    elf: &Elf,
    functions: impl Iterator<Item = Function>,
) -> Result<BTreeSet<Vec<i64>>, Error> {
    let mut paths = BTreeSet::new();
    for function in functions {
        let trace = symbolic::trace(elf, function)?;
        paths.extend(read(&trace).map(|content| content.path()));
    }
    Ok(paths)
}

/// What is read of the first argument's struct.
fn read(trace: &Trace) -> impl Iterator<Item = Content> {
    let contents = trace.reads.iter().map(|(at, width)| Content {
        at: at.clone(),
        width: *width,
        bits: None,
    });
    contents.filter(|content| content.at.root == Root::Argument(0))
}

fn candidates(does: Does, trace: &Trace, beside: &BTreeSet<Vec<i64>>) -> Vec<Content> {
    let written = |argument| {
        let stores = trace.stores.iter().filter(move |(to, _)| {
            to.root == Root::Argument(argument) && to.pointers.is_empty() && to.offset == 0
        });
        stores.map(|(_, value)| value)
    };
    match does {
        Does::Returns => trace.returns.iter().filter_map(Value::content).collect(),
        Does::Writes(argument) | Does::WritesNearest(argument) => {
            written(argument).filter_map(Value::content).collect()
        }
        Does::Points(argument) => written(argument).filter_map(pointed).collect(),
        Does::Copies(argument) => {
            // Inlined, whole words are moved; else it is memcpy(3) or memmove(3).
            let inlined = written(argument).filter_map(Value::content);
            let called = trace
                .calls
                .iter()
                .filter(|[to, ..]| is_argument(to, argument));
            let called = called.filter_map(|[_, from, ..]| pointed(from));
            let widened = inlined.chain(called).map(|content| Content {
                width: 1,
                bits: None,
                ..content
            });
            widened.collect()
        }
        Does::Sets(argument) => {
            let stores = trace.stores.iter();
            let these = stores.filter(|(_, value)| is_argument(value, argument));
            let contents = these.map(|(at, _)| Content {
                at: at.clone(),
                width: 8,
                bits: None,
            });
            contents.collect()
        }
        Does::ReadsPointer => read(trace)
            .filter(|content| content.width == 8 && content.at.pointers.is_empty())
            .collect(),
        Does::ReadsWith(_) => read(trace)
            .filter(|content| !beside.contains(&content.path()))
            .collect(),
    }
}

/// The place an address points to, as if read.
fn pointed(value: &Value) -> Option<Content> {
    match value {
        Value::Address(at) => Some(Content {
            at: at.clone(),
            width: 1,
            bits: None,
        }),
        _ => None,
    }
}

fn is_argument(value: &Value, argument: u8) -> bool {
    match value {
        Value::Address(address) => {
            address.root == Root::Argument(argument)
                && address.pointers.is_empty()
                && address.offset == 0
        }
        _ => false,
    }
}

/// The one place that all candidates are: the shortest way from the first argument. Longer ways must
/// end at the same offset, as those to the same struct inside another do (a QUIC connection's).
fn only(contents: Vec<Content>) -> Result<Offsets, String> {
    let mut found: Vec<_> = contents
        .into_iter()
        .filter(|content| content.at.root == Root::Argument(0))
        .map(|content| (content.path(), content.width, content.bits))
        .filter(|(path, ..)| path.iter().all(|offset| (0..FARTHEST).contains(offset)))
        .collect();
    // What kind of struct it is stands first (OpenSSL's `ssl->type`). Functions test bits of it, and
    // where those are zero may return them for want of anything better.
    let tests_kind = |(path, _, bits): &(Vec<i64>, _, Option<_>)| path[..] == [0] && bits.is_some();
    if !found.iter().all(tests_kind) {
        found.retain(|content| !tests_kind(content));
    }
    found.sort_by_key(|(path, width, _)| (path.len(), *width));
    found.dedup();
    let Some((path, width, bits)) = found.first() else {
        return Err("its code does not tell".to_owned());
    };
    let agree = found.iter().all(|(other, _, other_bits)| {
        other.last() == path.last()
            && (other == path || other.len() > path.len())
            && other_bits == bits
    });
    if !agree {
        return Err("its code reads several places".to_owned());
    }
    let path = path.iter().map(|offset| u32::try_from(*offset));
    Ok(Offsets {
        path: path
            .collect::<Result<_, _>>()
            .map_err(|_| "negative offset")?,
        width: *width,
        bits: bits.map(|bits| (bits.shift, bits.mask)),
    })
}
