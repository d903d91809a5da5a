//! Executes the instruction `unreachable`, without a word in its log. Proves that a bare trap is told apart and keeps its
//! backtrace: the outcome is `trapped`.

#[wasmill::handler]
fn trap() -> wasmill::Result {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}
