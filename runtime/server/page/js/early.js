// Before anything else runs or is painted.

// The one place where a string may become code: workers of this page's own folder.
globalThis.trustedTypes?.createPolicy('default', {
  createScriptURL(address) {
    const folder = new URL('.', location.href).href;
    if (new URL(address, location.href).href.startsWith(folder)) return address;
    throw new TypeError(`${address}: only scripts of ${folder} may run`);
  },
});

// The theme that was chosen here before. Without one the system's holds.
try {
  const theme = localStorage.getItem('carat.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme holds.
}
