() => {
  // Gradio gives its empty players a label without a role, which screen readers may not say.
  const name = () => document.querySelectorAll('div[aria-label="Empty value"]:not([role])').forEach(e => e.setAttribute('role', 'img'));
  // What is wrong also stands beside its field, for as long as the message is there: data-field is how the label begins.
  let said = '';
  const beside = () => {
    const boxes = [...document.querySelectorAll('.kn-bad[data-field]')], now = boxes.map(b => b.dataset.field + b.textContent).join('\n');
    if (now === said) return;
    said = now;
    document.querySelectorAll('.kn-beside').forEach(note => note.remove());
    document.querySelectorAll('[aria-invalid]').forEach(input => input.removeAttribute('aria-invalid'));
    for (const box of boxes) {
      const begins = box.dataset.field.split('|').filter(Boolean), panel = box.closest('[role="tabpanel"]') || document;
      const label = [...panel.querySelectorAll('[data-testid="block-info"]')].find(
        l => begins.some(words => l.textContent.trim().toLowerCase().startsWith(words)));
      const block = label && label.closest('.block'), input = block && block.querySelector('input, textarea');
      if (!block) continue;
      const note = document.createElement('p');
      note.className = 'kn-beside'; note.textContent = box.textContent; block.append(note);
      if (input) input.setAttribute('aria-invalid', 'true');
    }
  };
  const look = () => { name(); beside(); };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
  look();
}
