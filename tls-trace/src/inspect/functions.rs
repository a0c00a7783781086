//! Where a function begins and where it returns.

use super::{
    Elf, Error, Hook, Place,
    decode::{self, LONGEST, Step},
    symbols::{Function, Symbols},
};

/// Longest function that is looked through for returns.
const LONGEST_FUNCTION: u64 = 256 * 1024;

/// Where functions are that have symbols.
///
/// # Errors
/// The file cannot be read.
pub fn hooks(
    elf: &Elf,
    symbols: &Symbols,
    names: impl IntoIterator<Item = &'static str>,
) -> Result<Vec<Hook>, Error> {
    names
        .into_iter()
        .map(|name| hook(elf, symbols, name, name))
        .collect()
}

/// Where the function with a symbol is.
///
/// # Errors
/// The file cannot be read.
pub fn hook(elf: &Elf, symbols: &Symbols, name: &'static str, symbol: &str) -> Result<Hook, Error> {
    let function = symbols.function(symbol);
    let place = function.map(|function| place(elf, function));
    Ok(Hook {
        name,
        place: place.transpose()?.flatten(),
    })
}

/// Where a function is in its file; None: it is not code, or its first instruction is none.
///
/// # Errors
/// The file cannot be read.
pub fn place(elf: &Elf, function: Function) -> Result<Option<Place>, Error> {
    let Some(offset) = elf.code_offset(function.address) else {
        return Ok(None);
    };
    let decoder = decode::decoder(elf.architecture);
    let mut code = [0; LONGEST];
    let length = elf.reader.paged(&mut code, offset)?;
    if decoder.decode(&code[..length], function.address).is_none() {
        return Ok(None);
    }
    let mut place = Place {
        offset,
        address: function.address,
        size: function.size,
        returns: Vec::new(),
        leaves: 0,
    };
    let end = function.address.saturating_add(function.size);
    let inside = function.address..end;
    if function.size > LONGEST_FUNCTION {
        return Ok(Some(place));
    }
    let mut address = function.address;
    while inside.contains(&address) {
        let Some(at) = elf.code_offset(address) else {
            break;
        };
        let length = elf.reader.paged(&mut code, at)?;
        let Some(instruction) = decoder.decode(&code[..length], address) else {
            // Where instructions cannot be told apart, no address inside is safe to probe.
            place.returns.clear();
            return Ok(Some(place));
        };
        for step in &instruction.steps {
            match step {
                Step::Return => place.returns.push(at),
                Step::Jump(Some(target)) | Step::Branch(target) if !inside.contains(target) => {
                    place.leaves += 1;
                }
                _ => {}
            }
        }
        address += u64::from(instruction.length);
    }
    Ok(Some(place))
}
