//! Why nothing can be written, in words for people and for metrics.

use std::io;

use super::storage::Room;

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The system says so.
    System(io::Error),
    /// It can hold no more files.
    NoInodes,
    /// Less is left than is to be kept free.
    TooLittleRoom,
    /// The group has as much as it may have.
    GroupFull,
    /// All groups together have.
    AllFull,
}

/// What metrics call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Full,
    Limit,
    NotWritable,
    Gone,
    Failed,
    Other,
}

impl Kind {
    /// Every one, with its label.
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Full, "full"),
        (Self::Limit, "limit"),
        (Self::NotWritable, "not_writable"),
        (Self::Gone, "gone"),
        (Self::Failed, "failed"),
        (Self::Other, "other"),
    ];
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Trouble {
    /// Tells apart what the system has one number for.
    pub(super) fn or_inodes(self, room: io::Result<Room>) -> Self {
        match (&self, room) {
            (Self::System(error), Ok(Room { has_inodes: false, .. }))
                if error.raw_os_error() == Some(libc::ENOSPC) =>
            {
                Self::NoInodes
            }
            _ => self,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::TooLittleRoom | Self::NoInodes => Kind::Full,
            Self::GroupFull | Self::AllFull => Kind::Limit,
            Self::System(error) => match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT) => Kind::Full,
                Some(libc::EROFS | libc::EACCES | libc::EPERM) => Kind::NotWritable,
                Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE) => Kind::Gone,
                Some(libc::EIO | libc::ENODEV | libc::ENXIO) => Kind::Failed,
                None if error.kind() == io::ErrorKind::PermissionDenied => Kind::NotWritable,
                _ => Kind::Other,
            },
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match (self, self.kind()) {
            (Self::NoInodes, _) => "the server's disk can hold no more files",
            (Self::TooLittleRoom, _) => "too little room is left on the server's disk",
            (Self::GroupFull, _) => {
                "this group has as many bytes of recordings as it may have: delete some"
            }
            (Self::AllFull, _) => "the server has as many bytes of recordings as it may have",
            (_, Kind::Full) => "the server's disk is full",
            (_, Kind::NotWritable) => "the server may not write to the folder of recordings",
            (_, Kind::Gone) => "the folder of recordings has been removed",
            (_, Kind::Failed) => "the server's disk has failed",
            (Self::System(error), _) => return write!(f, "the server cannot write ({error})"),
        };
        f.write_str(text)
    }
}
