// Before anything is painted: the theme that was chosen here before. Without one the system's holds.
try {
  const theme = localStorage.getItem('carat.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme holds.
}
