//! Closed sets of labels, and what each label means.

/// A closed set of labels: `label()` for people, metrics and JSON alike, `ALL` for documentation.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $label)] $variant,)* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.label())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::report::UnknownLabel;

            fn from_str(label: &str) -> Result<Self, Self::Err> {
                match label {
                    $($label => Ok(Self::$variant),)*
                    _ => Err($crate::report::UnknownLabel { label: label.to_owned(), known: &[$($label,)*] }),
                }
            }
        }
    };
}

/// [`labels`] that are explained: the doc comment of a variant is its meaning.
macro_rules! explained_labels {
    ($(#[$doc:meta])* pub enum $name:ident { $(
        $(#[doc = $meaning:literal])+
        $variant:ident = $label:literal { proof: $proof:literal, usual: $usual:literal, next: $next:literal, },
    )* }) => {
        labels! {
            $(#[$doc])*
            pub enum $name { $($(#[doc = $meaning])+ $variant = $label,)* }
        }

        impl $name {
            /// What it means, how it is known, where it comes from and what to do about it.
            #[must_use]
            pub const fn explanation(self) -> $crate::report::Explanation {
                match self {
                    $(Self::$variant => $crate::report::Explanation {
                        label: $label,
                        meaning: concat!($($meaning),+).trim_ascii_start(),
                        proof: $proof,
                        usual: $usual,
                        next: $next,
                    },)*
                }
            }
        }
    };
}

pub(super) use explained_labels;
pub(crate) use labels;

/// What a label means, for people. Text in Markdown: code in backticks, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The label.
    pub label: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// What proves it.
    pub proof: &'static str,
    /// What usually causes it.
    pub usual: &'static str,
    /// What to do next.
    pub next: &'static str,
}

/// A label that is not in its set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{label}' is not one of: {}", known.join(", "))]
pub struct UnknownLabel {
    pub(crate) label: String,
    pub(crate) known: &'static [&'static str],
}
