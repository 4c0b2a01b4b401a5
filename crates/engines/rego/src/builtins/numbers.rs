//! Functions of numbers whose values the interpreter makes without a limit: one call would end the process.
//!
//! Source: OPA, `v1/topdown/numbers.go` and `bits.go`.

use super::Fault;
use regorus::Value;

/// How many numbers a range may have.
const MAX_RANGE: u128 = 1 << 16;

/// How many bits a number may be shifted by.
const MAX_SHIFT: i128 = 1 << 12;

/// The whole numbers from one to another, both included, up or down.
pub(super) fn range(given: &[Value]) -> Result<Value, Fault> {
    numbers(whole(given, 0)?, whole(given, 1)?, 1)
}

/// As [`range`], by steps, which are positive.
pub(super) fn range_step(given: &[Value]) -> Result<Value, Fault> {
    let step = u128::try_from(whole(given, 2)?).ok().filter(|step| *step > 0);
    numbers(whole(given, 0)?, whole(given, 1)?, step.ok_or(Fault::Undefined)?)
}

/// A whole number times a power of two.
pub(super) fn shifted_left(given: &[Value]) -> Result<Value, Fault> {
    let number = |at: usize| match given.get(at) {
        Some(Value::Number(number)) if number.is_integer() => Ok(number),
        _ => Err(Fault::Undefined),
    };
    let (number, by) = (number(0)?, number(1)?);
    match by.as_i128() {
        Some(..0) => Err(Fault::Undefined),
        Some(0..=MAX_SHIFT) => number.lsh(by).map(Value::from).ok_or(Fault::Undefined),
        _ => Err(Fault::Limit(format!("a shift by at most {MAX_SHIFT} bits"))),
    }
}

fn whole(given: &[Value], at: usize) -> Result<i128, Fault> {
    match given.get(at) {
        Some(Value::Number(number)) if number.is_integer() => {
            number.as_i128().ok_or_else(|| Fault::Limit("numbers of at most 127 bits in a range".to_owned()))
        }
        _ => Err(Fault::Undefined),
    }
}

fn numbers(from: i128, to: i128, step: u128) -> Result<Value, Fault> {
    let steps = from.abs_diff(to) / step;
    if steps >= MAX_RANGE {
        return Err(Fault::Limit(format!("a range of at most {MAX_RANGE} numbers")));
    }
    let at = |index: u128| {
        // Within the two ends, so within what the type holds.
        let distance = index.checked_mul(step)?;
        if from <= to { from.checked_add_unsigned(distance) } else { from.checked_sub_unsigned(distance) }
    };
    let numbers: Vec<Value> = (0..=steps).filter_map(at).map(Value::from).collect();
    Ok(Value::from(numbers))
}
