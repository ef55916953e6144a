/// What the server does wrong on purpose, so that a test sees the subjects notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A message is left out.
    Drop,
    /// It changes places with the next one of its channel.
    Swap,
    /// It comes twice.
    Twice,
    /// Its payload is no JSON.
    Corrupt,
}

impl Fault {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "drop" => Self::Drop,
            "swap" => Self::Swap,
            "twice" => Self::Twice,
            "corrupt" => Self::Corrupt,
            _ => return None,
        })
    }

    /// What is told in place of `number`; `next` follows the `victim` in its channel.
    pub(crate) fn instead(self, number: u64, victim: u64, next: u64) -> impl Iterator<Item = u64> {
        let numbers = match self {
            Self::Drop if number == victim => [None, None],
            Self::Twice if number == victim => [Some(number), Some(number)],
            Self::Swap if number == victim => [Some(next), None],
            Self::Swap if number == next => [Some(victim), None],
            _ => [Some(number), None],
        };
        numbers.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fault: Fault) -> Vec<u64> {
        (0..8).flat_map(|number| fault.instead(number, 4, 6)).collect()
    }

    #[test]
    fn hits_one_message_and_no_other() {
        assert_eq!(told(Fault::Drop), [0, 1, 2, 3, 5, 6, 7]);
        assert_eq!(told(Fault::Swap), [0, 1, 2, 3, 6, 5, 4, 7]);
        assert_eq!(told(Fault::Twice), [0, 1, 2, 3, 4, 4, 5, 6, 7]);
        assert_eq!(told(Fault::Corrupt), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
