//! Numbers that keep their type: integers stay integers until a double joins them.

use bson::Bson;

/// An integer as BSON: `Int32` where it fits, else `Int64`. MongoDB compares the two by value.
pub(super) fn integer(value: i64) -> Bson {
    i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32)
}

/// A length as BSON.
pub(super) fn count(value: usize) -> Bson {
    integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The sum of those that are numbers, with the type that adding makes of theirs.
pub(crate) fn sum(values: &[Bson]) -> Bson {
    values.iter().filter_map(Number::of).sum::<Number>().into()
}

/// A number with its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    pub(super) const ZERO: Self = Self::Int(0);

    /// The number a value is.
    pub(super) fn of(value: &Bson) -> Option<Self> {
        match value {
            Bson::Int32(int) => Some(Self::Int((*int).into())),
            Bson::Int64(int) => Some(Self::Int(*int)),
            Bson::Double(double) => Some(Self::Double(*double)),
            _ => None,
        }
    }

    /// The number a spreadsheet's cell is, or reads as: text with one decimal point or comma, with an
    /// exponent or without. `1.234,5`, `NaN` and `1e999` are not numbers.
    pub(super) fn of_cell(cell: &Bson) -> Option<Self> {
        match cell {
            Bson::String(text) => Self::of_text(text.trim()),
            other => Self::of(other),
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        // Rust also reads "inf" and "nan", which these characters cannot spell.
        if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b',' | b'e' | b'E')) {
            return None;
        }
        let int = text.parse().ok().map(Self::Int);
        int.or_else(|| text.replace(',', ".").parse().ok().filter(|double: &f64| double.is_finite()).map(Self::Double))
    }

    /// The sum: an integer when both are and it fits, else a double.
    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.checked_add(b).map_or(Self::Double(a as f64 + b as f64), Self::Int),
            (a, b) => Self::Double(a.double() + b.double()),
        }
    }

    /// As a double, whichever it is.
    pub(super) fn double(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }
}

impl std::iter::Sum for Number {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Self::plus)
    }
}

impl From<Number> for Bson {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(int) => integer(int),
            Number::Double(double) => Self::Double(double),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_reads_as_the_number_it_shows() {
        for (cell, expected) in [
            ("2", Some(Number::Int(2))),
            (" -3 ", Some(Number::Int(-3))),
            ("+4", Some(Number::Int(4))),
            ("1,5", Some(Number::Double(1.5))),
            ("1.5", Some(Number::Double(1.5))),
            ("2,0", Some(Number::Double(2.0))),
            (",5", Some(Number::Double(0.5))),
            ("1e3", Some(Number::Double(1000.0))),
            ("99999999999999999999", Some(Number::Double(1e20))),
            ("\u{a0}1,5\u{a0}", Some(Number::Double(1.5))),
        ] {
            assert_eq!(Number::of_cell(&Bson::String(cell.into())), expected, "{cell}");
        }
        for cell in ["", " ", "-", ".", ",", "e", "1.234,5", "1,2,3", "1 5", "5 h", "NaN", "inf", "-Infinity", "1e999"]
        {
            assert_eq!(Number::of_cell(&Bson::String(cell.into())), None, "{cell}");
        }
        assert_eq!(Number::of_cell(&Bson::Int32(2)), Some(Number::Int(2)));
        assert_eq!(Number::of_cell(&Bson::Boolean(true)), None);
        assert_eq!(Number::of_cell(&Bson::Null), None);
    }

    #[test]
    fn a_sum_is_an_integer_exactly_when_all_its_parts_are() {
        let sum = |numbers: &[Number]| Bson::from(numbers.iter().copied().sum::<Number>());
        assert_eq!(sum(&[]), Bson::Int32(0));
        assert_eq!(sum(&[Number::Int(1), Number::Int(2)]), Bson::Int32(3));
        assert_eq!(sum(&[Number::Int(2_147_483_647), Number::Int(1)]), Bson::Int64(2_147_483_648));
        assert_eq!(sum(&[Number::Int(1), Number::Double(2.0)]), Bson::Double(3.0));
        assert_eq!(sum(&[Number::Int(i64::MAX), Number::Int(1)]), Bson::Double(9_223_372_036_854_775_808.0));
    }
}
