//! What keeps a lost file from ending the app.

use super::Error;

/// Lets a mapped model file that another process shortens, or whose disk fails, give an error of
/// [`ErrorCode::Damaged`](crate::ErrorCode::Damaged), where the system would end the whole process with SIGBUS.
///
/// An app calls it once, before or after it opens models; further calls do nothing. It installs a handler of SIGBUS for the
/// process, which is why the library does not do so by itself. The handler acts on faults within the maps of Carat's models
/// alone: zeros take the place of what is lost, and every text, embedding and comparison of hashes that may have read them
/// ends with the error. All other signals go on to the handler that was there before, or to the system's default. A handler
/// that is installed later must pass on what is not its own in the same way.
///
/// Up to 256 models that are open at once are guarded. A GPU that has all weights of a model no longer needs the file once the
/// hashes are compared: its text goes on, and the next one may be an error. On systems other than Unix this function is
/// absent. Windows lets nobody shorten a mapped file; a disk that fails ends the process there.
///
/// Errors: the system refuses the handler, which then is not there.
///
/// ```
/// carat::guard_maps()?;
/// # let path = carat_examples::bundled()?;
/// let model = carat::Model::open(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn guard_maps() -> Result<(), Error> {
    Ok(crate::model::guard_maps()?)
}
