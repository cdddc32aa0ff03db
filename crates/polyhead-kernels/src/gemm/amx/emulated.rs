//! The matrix unit in plain Rust, as Intel's Software Developer's Manual says what each instruction does: for tests, on any
//! processor. Where the unit would fault (registers without shapes, or with shapes that do not fit), this panics.

use super::unit::{Shapes, Unit};
use std::cell::RefCell;

/// The unit of this thread.
pub(in crate::gemm) struct Emulated;

struct State {
    shapes: Shapes,
    /// Eight registers of sixteen rows of 64 bytes.
    registers: [[[u8; 64]; 16]; 8],
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { shapes: Shapes::NONE, registers: [[[0; 64]; 16]; 8] }) };
}

impl Emulated {
    /// Gives the registers back, as any library on this thread may.
    pub(in crate::gemm) fn release() {
        Self::set(Shapes::NONE);
    }

    /// Gives the registers other shapes, as any library on this thread may: one row, and in that four bytes.
    pub(in crate::gemm) fn take_for_something_else() {
        let mut shapes = Shapes::of_rows(1);
        shapes.bytes_of_a_row[..8].fill(4);
        shapes.rows[7] = 1;
        Self::set(shapes);
    }

    fn set(shapes: Shapes) {
        STATE.with_borrow_mut(|state| *state = State { shapes, registers: [[[0; 64]; 16]; 8] });
    }
}

impl State {
    /// The rows and the bytes of a row that a register has.
    fn size(&self, register: u8) -> (usize, usize) {
        assert!(self.shapes.palette == 1 && self.shapes.start_row == 0, "#UD: the registers have no shapes");
        let (rows, bytes) = (self.shapes.rows[register as usize], self.shapes.bytes_of_a_row[register as usize]);
        assert!(rows > 0 && bytes > 0, "#UD: register {register} has no shape");
        (rows.into(), bytes.into())
    }

    /// One of the two bf16 numbers of a pair.
    fn half(&self, register: usize, row: usize, pair: usize, half: usize) -> f32 {
        let at = 4 * pair + 2 * half;
        let row = &self.registers[register][row];
        flushed(f32::from_bits(u32::from(u16::from_le_bytes([row[at], row[at + 1]])) << 16))
    }
}

/// Denormal numbers are zeros to the unit.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

impl Unit for Emulated {
    unsafe fn shapes() -> Shapes {
        STATE.with_borrow(|state| state.shapes)
    }

    unsafe fn configure(shapes: &Shapes) {
        let sizes = || shapes.rows.iter().zip(&shapes.bytes_of_a_row);
        assert!(shapes.palette == 1 && shapes.start_row == 0);
        assert!(sizes().take(8).all(|(&rows, &bytes)| rows <= 16 && bytes <= 64), "#GP: larger than a register");
        assert!(sizes().skip(8).all(|(&rows, &bytes)| rows == 0 && bytes == 0), "#GP: there are eight registers");
        Self::set(*shapes);
    }

    unsafe fn clear<const T: u8>() {
        STATE.with_borrow_mut(|state| {
            state.size(T);
            state.registers[T as usize] = [[0; 64]; 16];
        });
    }

    unsafe fn load<const T: u8>(from: *const u8, step: usize) {
        STATE.with_borrow_mut(|state| {
            let (rows, bytes) = state.size(T);
            let register = &mut state.registers[T as usize];
            *register = [[0; 64]; 16];
            for (row, to) in register.iter_mut().enumerate().take(rows) {
                // SAFETY: the caller's promise.
                unsafe { std::ptr::copy_nonoverlapping(from.wrapping_add(row * step), to.as_mut_ptr(), bytes) };
            }
        });
    }

    unsafe fn store<const T: u8>(to: *mut u8, step: usize) {
        STATE.with_borrow(|state| {
            let (rows, bytes) = state.size(T);
            for (row, from) in state.registers[T as usize].iter().enumerate().take(rows) {
                // SAFETY: the caller's promise.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.wrapping_add(row * step), bytes) };
            }
        });
    }

    unsafe fn dot<const T: u8>() {
        STATE.with_borrow_mut(|state| {
            let ((rows, columns), (a_rows, a_bytes), (b_rows, b_bytes)) = (state.size(T), state.size(6), state.size(7));
            let fits = rows == a_rows && columns == b_bytes && a_bytes / 4 == b_rows && columns % 4 == 0;
            assert!(fits, "#UD: the shapes of a product do not fit");
            for row in 0..rows {
                for column in 0..columns / 4 {
                    // The first and the second numbers of the pairs are summed apart, and both are added at the end.
                    let sum = |half| {
                        let products =
                            (0..b_rows).map(|p| (state.half(6, row, p, half), state.half(7, p, column, half)));
                        products.fold(0.0_f32, |sum, (a, b)| flushed(a.mul_add(b, sum)))
                    };
                    let both = flushed(sum(0) + sum(1));
                    let to = &mut state.registers[T as usize][row][4 * column..4 * column + 4];
                    let was = flushed(f32::from_le_bytes([to[0], to[1], to[2], to[3]]));
                    to.copy_from_slice(&flushed(was + both).to_le_bytes());
                }
            }
        });
    }
}
