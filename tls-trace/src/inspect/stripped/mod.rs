//! BoringSSL and OpenSSL 3 without symbols, by evidence at their call sites: every error they meet is
//! stored by one function with constant arguments, so that the calls say which function that is, and its
//! callers who they are. Functions are where the unwind table says they begin, and nowhere else. See
//! `docs/stripped.md`.
//!
//! All that is not proven is refused: a probe inside an instruction would crash a stranger's program.

mod body;
mod boringssl;
mod gate;
mod members;
mod names;
mod openssl;
mod pointers;
mod raises;
mod scan;
mod search;
#[cfg(test)]
mod tests;
mod unwind;
mod votes;

use serde::Serialize;

pub use self::votes::{Vote, Votes};
use super::{
    Elf, Error, Family, Finding, Hook, Library, Member, Offsets, ReadAt, functions,
    symbols::Function,
};

/// Looks for the libraries, and says of the one that more was found of. None: nothing in the file is like
/// either.
#[must_use]
pub fn find(elf: &Elf) -> Option<Stripped> {
    let boringssl = boringssl::find(elf);
    if boringssl
        .as_ref()
        .is_some_and(|found| found.grade >= Grade::Medium)
    {
        return boringssl;
    }
    let openssl = openssl::find(elf);
    let grade = |found: &Option<Stripped>| found.as_ref().map(|found| found.grade);
    if grade(&openssl) > grade(&boringssl) {
        openssl
    } else {
        boringssl
    }
}

/// What was found in a file, and why not more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stripped {
    /// Which library.
    pub family: Family,
    /// How far it can be trusted.
    pub grade: Grade,
    /// Why it is not trusted further.
    pub refused: Vec<Refusal>,
    /// Who stores errors, as calls tell.
    pub votes: Votes,
    /// Calls of that function.
    pub sites: u32,
    /// Different reasons of errors among them; of OpenSSL, different names of functions.
    pub reasons: u32,
    /// Functions they are in.
    pub functions: u32,
    /// How much of the code has an unwind table, in percent.
    pub unwind: u32,
    /// Functions that may be probed.
    pub hooks: Vec<Located>,
    /// Members of structs.
    pub members: Vec<Witnessed>,
}

impl Stripped {
    fn nothing(family: Family) -> Self {
        Self {
            family,
            grade: Grade::Refused,
            refused: Vec::new(),
            votes: Votes::default(),
            sites: 0,
            reasons: 0,
            functions: 0,
            unwind: 0,
            hooks: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The library as one with symbols; None where not so much was found that its connections could be
    /// told.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn library(&self, elf: &Elf) -> Result<Option<Library>, Error> {
        let members = match self.family {
            Family::Boringssl => self.members_of_boringssl(),
            _ => self.members_of_openssl(),
        };
        let (true, Some(members)) = (self.grade >= Grade::Medium, members) else {
            return Ok(None);
        };
        let hook = |located: &Located| {
            let function = Function {
                address: located.address,
                size: located.size,
            };
            let place = functions::place(elf, function)?;
            let name = located.name.name();
            Ok(Hook { name, place })
        };
        let hooks = self.hooks.iter().map(hook).collect::<Result<_, Error>>()?;
        Ok(Some(Library {
            family: self.family,
            version: None,
            hooks,
            members,
            itabs: Vec::new(),
        }))
    }

    fn members_of_boringssl(&self) -> Option<Vec<Member>> {
        let state = self.offset("ssl.s3")?;
        let mut members = vec![member("ssl.s3", vec![state], 8)];
        let beside = |name, from, distance: u32, width| {
            let path = vec![state, self.offset(from)?.checked_add(distance)?];
            Some(member(name, path, width))
        };
        members.extend(beside(
            "ssl.early_data_reason",
            "s3.early_data_reason",
            0,
            4,
        ));
        members.extend(beside("ssl.alpn_selected", "s3.alpn_selected", 0, 8));
        members.extend(beside("ssl.alpn_selected_len", "s3.alpn_selected", 8, 8));
        Some(members)
    }

    fn members_of_openssl(&self) -> Option<Vec<Member>> {
        let random = self.offset("ssl.client_random")?;
        let mut members = vec![member("ssl.client_random", vec![random], 1)];
        let kind = self.offset("ssl.type");
        members.extend(kind.map(|kind| member("ssl.type", vec![kind], 4)));
        Some(members)
    }

    /// Where a member is that may be read.
    fn offset(&self, name: &str) -> Option<u32> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.name == name)?;
        member.offset.filter(|_| member.is_verified())
    }

    /// Whether its functions still begin with the bytes that were seen: to be asked right before they
    /// are probed.
    pub fn is_still_in(&self, file: &dyn ReadAt) -> bool {
        self.hooks.iter().all(|hook| {
            let mut head = [0; HEAD];
            let read = file.read_at(&mut head, hook.offset);
            matches!(read, Ok(HEAD)) && head == hook.head
        })
    }
}

fn member(name: &'static str, path: Vec<u32>, width: u8) -> Member {
    let finding = Finding::Binary(Offsets {
        path,
        width,
        bits: None,
    });
    Member { name, finding }
}

/// How far what was found can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Not at all: nothing may be probed.
    Refused,
    /// The function that stores errors is certain, and it alone.
    ErrorsOnly,
    /// The handshake was found, but not all that belongs to it, or only one vote speaks for it.
    Medium,
    /// All was found, and two votes agree.
    High,
}

impl Grade {
    /// Stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ErrorsOnly => "errors_only",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not x86-64.
    Architecture,
    /// The file is larger than what is looked at.
    TooLarge,
    /// It took too long.
    TooSlow,
    /// It contradicts itself, or cannot be read.
    Unreadable,
    /// Too few calls look like those of an error.
    FewVotes,
    /// They are of several functions: two libraries, or none.
    SplitVotes,
    /// By arguments it is one function, by names of source files another.
    VotesDisagree,
    /// No source file is named: one vote only.
    NoNames,
    /// The calls have too few different reasons, or names of functions.
    FewReasons,
    /// Nothing says where functions begin.
    NoUnwindTable,
    /// For a large part of the code nothing says where functions begin.
    SparseUnwindTable,
    /// Who stores errors is no function's beginning.
    NotAFunction,
    /// No function is like the handshake, or too many are.
    Handshake,
    /// No function is like the one that sends alerts, or too many are, or another sends them.
    Alert,
    /// No function is like the one that all errors pass.
    SetError,
    /// No function is like the one that begins a handshake, or several are.
    Clear,
    /// No table of functions is like that of the protocol, or several are.
    MethodTable,
    /// A function that was found did not pass the gate.
    Gate,
}

impl Refusal {
    /// Stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Architecture => "architecture",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Unreadable => "unreadable",
            Self::FewVotes => "few_votes",
            Self::SplitVotes => "split_votes",
            Self::VotesDisagree => "votes_disagree",
            Self::NoNames => "no_names",
            Self::FewReasons => "few_reasons",
            Self::NoUnwindTable => "no_unwind_table",
            Self::SparseUnwindTable => "sparse_unwind_table",
            Self::NotAFunction => "not_a_function",
            Self::Handshake => "handshake",
            Self::Alert => "alert",
            Self::SetError => "set_error",
            Self::Clear => "clear",
            Self::MethodTable => "method_table",
            Self::Gate => "gate",
        }
    }
}

/// What a function does. Several may do the same: compilers copy functions into their callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Role {
    /// `ERR_put_error(library, unused, reason, file, line)`.
    #[serde(rename = "ERR_put_error")]
    PutError,
    /// `ERR_set_debug(file, line, function)`, which nothing is attached to.
    #[serde(rename = "ERR_set_debug")]
    SetDebug,
    /// `ERR_vset_error(library, reason, format, arguments)`, and `ERR_set_error` with the same first two
    /// arguments where it does not call that.
    #[serde(rename = "ERR_vset_error")]
    SetError,
    /// `SSL_do_handshake(ssl)`, and copies of it in others with the same argument.
    #[serde(rename = "SSL_do_handshake")]
    Handshake,
    /// `ssl_send_alert(ssl, level, description)` or `ssl_send_alert_impl` with the same arguments.
    #[serde(rename = "ssl_send_alert")]
    Alert,
    /// `ossl_statem_fatal(ssl, alert, reason, format, …)`.
    #[serde(rename = "ossl_statem_fatal")]
    Fatal,
    /// `SSL_clear(ssl)`.
    #[serde(rename = "SSL_clear")]
    Clear,
    /// `tls_free(ssl)`: the end of a connection.
    #[serde(rename = "tls_free")]
    Free,
    /// `SSL_METHOD::ssl_free(ssl)`: the same of OpenSSL.
    #[serde(rename = "ssl_free")]
    MethodFree,
}

impl Role {
    /// Name in the library's source.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PutError => "ERR_put_error",
            Self::SetDebug => "ERR_set_debug",
            Self::SetError => "ERR_vset_error",
            Self::Handshake => "SSL_do_handshake",
            Self::Alert => "ssl_send_alert",
            Self::Fatal => "ossl_statem_fatal",
            Self::Clear => "SSL_clear",
            Self::Free => "tls_free",
            Self::MethodFree => "ssl_free",
        }
    }
}

/// Bytes at the beginning of a function that are compared before it is probed.
pub const HEAD: usize = 16;

/// A function that may be probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// What it does.
    pub name: Role,
    /// Offset of its first instruction in the file: what the kernel's uprobes take.
    pub offset: u64,
    /// Its address as linked.
    pub address: u64,
    /// Length of its code; 0: not known.
    pub size: u64,
    /// Calls of it, and jumps to it from other functions.
    pub callers: u32,
    /// A table or another variable points to it.
    pub pointed_to: bool,
    /// Its first bytes.
    #[serde(skip)]
    pub head: [u8; HEAD],
}

/// A member of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// Stable name: the struct, a dot, the member.
    pub name: &'static str,
    /// Distance from the start of its struct; None: not found.
    pub offset: Option<u32>,
    /// Pieces of code that agree on it; one is none.
    pub witnesses: u32,
    /// Those that would have it elsewhere.
    pub against: u32,
}

impl Witnessed {
    /// Whether two say so, and at most half as many contradict.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.offset.is_some() && self.witnesses >= 2 && self.against * 2 <= self.witnesses
    }
}
