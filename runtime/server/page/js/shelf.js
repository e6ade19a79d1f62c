// The conversations that are kept in this browser, in IndexedDB.

import { conversation, newId } from './record.js';

const NAME = 'carat';
const STORE = 'conversations';

let opening = null;

const asPromise = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const failed = (error) => Object.assign(new Error(`conversations cannot be kept: ${error?.message ?? error}`), { code: 'storage' });

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' });
    request.onsuccess = () => {
      // Another tab may want to change or delete it.
      request.result.onversionchange = () => (request.result.close(), (opening = null));
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
  opening.catch(() => (opening = null));
  return opening;
}

/** Runs `work(store)` in one transaction; its value once that is through. */
async function within(mode, work) {
  try {
    const transaction = (await open()).transaction(STORE, mode);
    const through = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
    through.catch(() => {});
    const value = await work(transaction.objectStore(STORE));
    await through;
    return value;
  } catch (error) {
    throw failed(error);
  }
}

/** A record if it is sound; one of another version of the page is left where it is. */
function sound(record) {
  try {
    return record === undefined ? null : conversation(record, 'record');
  } catch {
    return null;
  }
}

/** All of them, the newest first. */
export async function list() {
  const all = await within('readonly', (store) => asPromise(store.getAll()));
  return all.map(sound).filter(Boolean).sort((a, b) => b.updated - a.updated);
}

/** One of them, or null. */
export const get = async (id) => sound(await within('readonly', (store) => asPromise(store.get(id))));

export const remove = (id) => within('readwrite', (store) => asPromise(store.delete(id)));

/**
 * Keeps a conversation that was last seen as `seen` says. If another tab has changed it meanwhile, it becomes one of its own:
 * nothing is overwritten. The id that it has now.
 */
export const put = (record, seen) =>
  within('readwrite', async (store) => {
    const there = await asPromise(store.get(record.id));
    const id = there && there.updated !== seen ? newId() : record.id;
    await asPromise(store.put({ ...record, id }));
    return id;
  });

/** Adds conversations: those that are here already as they are stay, one that differs gets an id of its own. How many of each. */
export const add = (records) =>
  within('readwrite', async (store) => {
    let [added, known] = [0, 0];
    for (const record of records) {
      const there = await asPromise(store.get(record.id));
      if (there && JSON.stringify(sound(there)) === JSON.stringify(record)) {
        known += 1;
        continue;
      }
      await asPromise(store.put(there ? { ...record, id: newId() } : record));
      added += 1;
    }
    return { added, known };
  });
