//! Nothing is drawn, so no display is looked for.
//!
//! Mesa's layer that chooses an adapter (VK_LAYER_MESA_device_select) asks the Wayland compositor for its own. Without a
//! folder where the compositor's socket could be, as in a container or behind sudo, libwayland writes two lines of error
//! to stderr and nothing else happens.

/// Tells libwayland that there is no compositor, where it could not find one anyway: nothing else changes, and no line is
/// written. To be called before anything else.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn none() {
    use std::os::unix::ffi::OsStrExt;
    let absolute =
        |name| std::env::var_os(name).is_some_and(|v| v.as_bytes().first() == Some(&b'/'));
    let found = absolute("XDG_RUNTIME_DIR") || absolute("WAYLAND_DISPLAY");
    if found || std::env::var_os("WAYLAND_SOCKET").is_some() {
        return;
    }
    // SAFETY: the program has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::set_var("WAYLAND_DISPLAY", "/dev/null") };
}

#[cfg(not(target_os = "linux"))]
pub fn none() {}
