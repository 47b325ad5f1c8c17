//! The codes of what can be wrong with a file before any rule looks at it, and their pages.

use crate::topology::diagnostic::Code;

/// A code with the text that explains it.
#[derive(Clone, Copy, Debug)]
pub struct Mistake {
    pub code: Code,
    pub page: &'static str,
}

pub(in crate::topology) const SYNTAX: Code = Code { id: "TOP-001", name: "toml-syntax" };
pub(in crate::topology) const UNKNOWN_KEY: Code = Code { id: "TOP-002", name: "unknown-key" };
pub(in crate::topology) const WRONG_TYPE: Code = Code { id: "TOP-003", name: "wrong-type" };
pub(in crate::topology) const BAD_VALUE: Code = Code { id: "TOP-004", name: "bad-value" };
pub(in crate::topology) const BAD_NAME: Code = Code { id: "TOP-005", name: "bad-name" };
pub(in crate::topology) const TWICE: Code = Code { id: "TOP-006", name: "declared-twice" };
pub(in crate::topology) const UNKNOWN_NAME: Code = Code { id: "TOP-007", name: "unknown-name" };
pub(in crate::topology) const CONTRADICTION: Code = Code { id: "TOP-008", name: "contradiction" };
pub(in crate::topology) const MISSING_KEY: Code = Code { id: "TOP-009", name: "missing-key" };
pub(in crate::topology) const NO_EFFECT: Code = Code { id: "TOP-010", name: "no-effect" };
pub(in crate::topology) const UNUSED_ALLOW: Code = Code { id: "TOP-011", name: "unused-allow" };

/// All of them, by id.
pub const ALL: [Mistake; 11] = [
    Mistake {
        code: SYNTAX,
        page: "The file is not TOML at this place. Its values are checked once it can be read; \
               other files are checked all the same. Common causes are a missing quote or bracket, \
               and a table or key that is there twice.",
    },
    Mistake {
        code: UNKNOWN_KEY,
        page: "A key that means nothing here. It is an error, because a misspelt key would \
               otherwise be a rule that silently does not hold. `docs/topology-file.md` lists all \
               keys.",
    },
    Mistake {
        code: WRONG_TYPE,
        page: "The value is of another type than the key takes: spans of time and sizes are \
               strings with a unit (`\"10s\"`, `\"64MiB\"`), numbers have no quotes, lists have \
               brackets even around a single element.",
    },
    Mistake {
        code: BAD_VALUE,
        page: "The value has the right type and cannot be meant: a word that is not in the key's \
               list, a number out of its range, a span of time over ten years.",
    },
    Mistake {
        code: BAD_NAME,
        page: "AMQP names are 1 to 255 bytes long, and names that begin with `amq.` are the \
               broker's. A parking lot is called as its queue with `.parked` behind it, so such \
               names, and the bytes for them, are kept free.",
    },
    Mistake {
        code: TWICE,
        page: "Two places declare one thing. All files of a vhost form one topology, so a name \
               stands in one of them, and a setting of the vhost in one file.",
    },
    Mistake {
        code: UNKNOWN_NAME,
        page: "A service, a retry policy or a rule is used that is declared nowhere in this vhost. \
               Exchanges and queues that are declared nowhere are RTE-004.",
    },
    Mistake {
        code: CONTRADICTION,
        page: "Two values of one object cannot both hold, or one of them needs another that is \
               not there.",
    },
    Mistake { code: MISSING_KEY, page: "An object cannot do without this key." },
    Mistake {
        code: NO_EFFECT,
        page: "The value changes nothing where it stands, so whoever wrote it meant something \
               that does not happen.",
    },
    Mistake {
        code: UNUSED_ALLOW,
        page: "A suppression that suppresses nothing, or no longer. Delete it, so that it does not \
               hide the next finding.",
    },
];
