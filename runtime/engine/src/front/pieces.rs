//! Text that is waited for: `for piece in reply`. In a browser nothing can wait.

use super::{Error, Generation, Reply};
use pollster::block_on;

/// The pieces of a text, each waited for.
pub struct Pieces<T>(T);

/// What gives pieces to whoever waits for them.
pub trait Source {
    /// The next piece; `None` at the end.
    fn pull(&mut self) -> Option<Result<String, Error>>;
}

impl Source for Generation {
    fn pull(&mut self) -> Option<Result<String, Error>> {
        block_on(self.next())
    }
}

impl Source for Reply<'_> {
    fn pull(&mut self) -> Option<Result<String, Error>> {
        block_on(self.next())
    }
}

impl<T: Source> Source for &mut T {
    fn pull(&mut self) -> Option<Result<String, Error>> {
        (**self).pull()
    }
}

impl<T: Source> Iterator for Pieces<T> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.pull()
    }
}

impl IntoIterator for Generation {
    type Item = Result<String, Error>;
    type IntoIter = Pieces<Self>;

    fn into_iter(self) -> Self::IntoIter {
        Pieces(self)
    }
}

impl<'a> IntoIterator for &'a mut Generation {
    type Item = Result<String, Error>;
    type IntoIter = Pieces<Self>;

    fn into_iter(self) -> Pieces<&'a mut Generation> {
        Pieces(self)
    }
}

impl IntoIterator for Reply<'_> {
    type Item = Result<String, Error>;
    type IntoIter = Pieces<Self>;

    fn into_iter(self) -> Self::IntoIter {
        Pieces(self)
    }
}

impl<'a, 'b> IntoIterator for &'a mut Reply<'b> {
    type Item = Result<String, Error>;
    type IntoIter = Pieces<Self>;

    fn into_iter(self) -> Pieces<&'a mut Reply<'b>> {
        Pieces(self)
    }
}
