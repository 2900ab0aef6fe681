// A scheduler's loop in Rust over libxenmem: VMs start wherever there is room, and a step that was too much is taken back.
// rustc examples/place.rs -L build/lib -l xenmem -o place && LD_LIBRARY_PATH=build/lib ./place
use std::ffi::CString;
use std::os::raw::c_char;

#[repr(C)]
struct Column<T> {
    at: *mut T,
    n: i64,
}

#[repr(C)]
struct Journal {
    at: *mut i64,
    n: i64,
    m: i64,
}

/// xenmem_accounts of xenmem_inline.h
#[repr(C)]
struct Accounts {
    left: Column<i64>,
    on: Column<i32>,
    amount: Column<i64>,
    next_amount: Column<i64>,
    needed: Column<i64>,
    journal: Journal,
    length: Column<i64>,
}

#[repr(C)]
struct Model {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Required {
    normal: i64,
    shadow: i64,
}

extern "C" {
    fn xenmem_model_for(version: *const c_char) -> *const Model;
    fn xenmem_one_overhead(model: *const Model, domain_type: i64, static_max: i64, vcpus: i64, multiplier: f64) -> i64;
    fn xenmem_one_required_memory(
        model: *const Model, domain_type: i64, static_max: i64, target: i64, vcpus: i64, multiplier: f64,
    ) -> Required;
    fn xenmem_accounts_fits(kept: Accounts, vm: i64, host: i64) -> bool;
    fn xenmem_accounts_start(kept: Accounts, vm: i64, host: i64) -> bool;
    fn xenmem_accounts_rollback(kept: Accounts, snapshot: i64);
}

fn column<T>(values: &mut [T]) -> Column<T> {
    Column { at: values.as_mut_ptr(), n: values.len() as i64 }
}

fn main() {
    const GIB: i64 = 1 << 30;
    const HVM: i64 = 0;
    let version = CString::new("26.4.0").unwrap();
    let sizes = [16 * GIB, 12 * GIB, 6 * GIB, 5 * GIB];
    let (mut left, mut on) = ([20 * GIB, 16 * GIB], [-1i32; 4]);
    let (mut amount, mut needed) = (sizes, sizes);
    let (mut journal, mut length) = ([0i64; 16 * 5], [0i64]);
    unsafe {
        let model = xenmem_model_for(version.as_ptr());
        for (vm, &size) in sizes.iter().enumerate() {
            amount[vm] += xenmem_one_overhead(model, HVM, size, 2, 1.0);
            let required = xenmem_one_required_memory(model, HVM, size, size, 2, 1.0);
            needed[vm] = required.normal + required.shadow;
        }
        let mut next_amount = amount;
        let mut kept = || Accounts {
            left: column(&mut left),
            on: column(&mut on),
            amount: column(&mut amount),
            next_amount: column(&mut next_amount),
            needed: column(&mut needed),
            journal: Journal { at: journal.as_mut_ptr(), n: 16, m: 5 },
            length: column(&mut length),
        };
        for vm in 0..4 {
            match (0..2).find(|&host| xenmem_accounts_fits(kept(), vm, host)) {
                Some(host) => {
                    xenmem_accounts_start(kept(), vm, host);
                    println!("VM {vm} starts on host {host}");
                }
                None => println!("VM {vm} fits nowhere"),
            }
        }
        xenmem_accounts_rollback(kept(), 2);
    }
    println!("with two VMs: {} and {} MiB left", left[0] >> 20, left[1] >> 20);
}
