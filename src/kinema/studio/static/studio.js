() => {
  // Gradio gives its empty players a label without a role, which screen readers may not say.
  const name = () => document.querySelectorAll('div[aria-label="Empty value"]:not([role])').forEach(e => e.setAttribute('role', 'img'));
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}
