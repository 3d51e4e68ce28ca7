//! Hints to processor and kernel about memory: faster or without effect, never another answer.
//!
//! Unsafe because they take pointers. Both hints matter because a lookup in a large memtable is two
//! visits to places that are in no cache: measured on a virtual machine, they are 70 % of the time
//! of a pipelined GET.

#![expect(unsafe_code, reason = "hints about memory take pointers")]

/// Starts loading the cache line of `value`.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch accesses no memory as far as the program can tell and faults on no address;
    // SSE, which has it, is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Puts the calling thread behind those that answer clients.
pub(crate) fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        /// Of -20 to 19; the share of a busy processor is about a tenth of that at 0.
        const NICENESS: i32 = 10;
        // On Linux a thread has a niceness of its own. Without the right to set it all is as before.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    }
}

/// Asks for huge pages behind the whole capacity of `memory`, most useful before it is touched.
pub(crate) fn use_huge_pages<T>(memory: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE_BYTES: usize = 4096;
        const HUGE_PAGE_BYTES: usize = 2 << 20;
        let bytes = memory.capacity() * size_of::<T>();
        let start = memory.as_mut_ptr();
        let skip = start.cast::<u8>().align_offset(PAGE_BYTES);
        let Some(whole) = bytes.checked_sub(skip).map(|rest| rest / PAGE_BYTES * PAGE_BYTES) else {
            return;
        };
        if whole < HUGE_PAGE_BYTES {
            return;
        }
        // SAFETY: the range is whole pages within an allocation that this call has borrowed
        // mutably, and this advice changes neither their contents nor their protection.
        let advised = unsafe {
            let from = start.cast::<u8>().add(skip);
            rustix::mm::madvise(from.cast(), whole, rustix::mm::Advice::LinuxHugepage)
        };
        // A kernel without huge pages says no, and all is as before.
        let _ = advised;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
