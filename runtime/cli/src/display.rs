//! Nothing is drawn, so no display is looked for.
//!
//! Mesa's layer that chooses an adapter (VK_LAYER_MESA_device_select) asks the Wayland compositor for its own. Without a
//! folder where the compositor's socket could be, as in a container or behind sudo, libwayland writes two lines of error
//! to stderr and nothing else happens.

/// Tells libwayland that there is no compositor, where it could not find one anyway: nothing else changes, and no line is
/// written. To be called before anything else: the program starts itself again with the variable, since the environment
/// of a running process cannot be changed safely. Where it cannot be started again, the two lines are written.
#[cfg(target_os = "linux")]
pub fn none() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    let absolute =
        |name| std::env::var_os(name).is_some_and(|v| v.as_bytes().first() == Some(&b'/'));
    let found = absolute("XDG_RUNTIME_DIR") || absolute("WAYLAND_DISPLAY");
    if found || std::env::var_os("WAYLAND_SOCKET").is_some() {
        return;
    }
    let mut args = std::env::args_os();
    let (Some(name), Ok(program)) = (args.next(), std::env::current_exe()) else {
        return;
    };
    let mut again = std::process::Command::new(program);
    // Replaces this process; comes back only with an error, which is of no consequence.
    let _ = again
        .arg0(name)
        .args(args)
        .env("WAYLAND_DISPLAY", "/dev/null")
        .exec();
}

#[cfg(not(target_os = "linux"))]
pub fn none() {}
