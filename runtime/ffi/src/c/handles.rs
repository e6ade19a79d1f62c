//! Objects by numbers that no two of them share.

use super::error::ErrorObject;
use super::stream::StreamObject;
use crate::app::{Conversation, Failure, Model};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What a handle stands for.
#[derive(Clone)]
pub enum Object {
    /// A model.
    Model(Model),
    /// A conversation.
    Conversation(Arc<Conversation>),
    /// A text under way.
    Stream(Arc<StreamObject>),
    /// An error.
    Error(Arc<ErrorObject>),
}

type Table = Mutex<HashMap<usize, Object>>;

fn table() -> MutexGuard<'static, HashMap<usize, Object>> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(Table::default);
    // Whole after every statement.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles that are not freed.
pub fn live() -> usize {
    table().len()
}

/// A handle of a new object. It is no address of anything.
pub fn put<T>(object: Object) -> *mut T {
    // Far from null, and as addresses are: a multiple of 16.
    static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
    let handle = NEXT.fetch_add(16, Ordering::Relaxed);
    table().insert(handle, object);
    std::ptr::without_provenance_mut(handle)
}

/// Takes an object out. Errors: none of that handle.
pub fn remove(handle: usize, what: &str) -> Result<Object, Failure> {
    let found = table().remove(&handle);
    found.ok_or_else(|| wrong(handle, what))
}

/// An object. Errors: none of that handle.
pub fn get(handle: usize, what: &str) -> Result<Object, Failure> {
    let found = table().get(&handle).cloned();
    found.ok_or_else(|| wrong(handle, what))
}

fn wrong(handle: usize, what: &str) -> Failure {
    Failure::parameter(match handle {
        0 => format!("the {what} is null; give the handle that was made"),
        _ => format!("the handle is no {what}, or it was freed already"),
    })
}

/// A kind of object that handles stand for.
pub trait Kind: Sized {
    /// Its name in errors.
    const NAME: &'static str;
    /// The object, if it is of that kind.
    fn of(object: Object) -> Option<Self>;
}

macro_rules! kind {
    ($variant:ident, $type:ty, $name:literal) => {
        impl Kind for $type {
            const NAME: &'static str = $name;
            fn of(object: Object) -> Option<Self> {
                match object {
                    Object::$variant(found) => Some(found),
                    _ => None,
                }
            }
        }
    };
}

kind!(Model, Model, "model");
kind!(Conversation, Arc<Conversation>, "conversation");
kind!(Stream, Arc<StreamObject>, "stream");
kind!(Error, Arc<ErrorObject>, "error");

/// The object of a handle. Errors: none, or of another kind.
pub fn find<K: Kind, T>(handle: *const T) -> Result<K, Failure> {
    let handle = handle.addr();
    K::of(get(handle, K::NAME)?).ok_or_else(|| wrong(handle, K::NAME))
}

/// Takes the object of a handle out. Errors: none, or of another kind, which stays.
pub fn take<K: Kind, T>(handle: *const T) -> Result<K, Failure> {
    find::<K, T>(handle)?;
    let handle = handle.addr();
    K::of(remove(handle, K::NAME)?).ok_or_else(|| wrong(handle, K::NAME))
}
