//! What is wrong, in words.

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// `Ok` or what is wrong.
pub type Checked = Result<(), Violation>;

/// Go back with a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::violation::Violation(format!($($words)+)));
        }
    };
}

/// Go back with a [`Violation`].
macro_rules! violated {
    ($($words:tt)+) => {
        return Err($crate::violation::Violation(format!($($words)+)))
    };
}

pub(crate) use {ensure, violated};
