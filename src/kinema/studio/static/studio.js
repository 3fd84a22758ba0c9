() => {
  // Gradio gives its empty players a label without a role, which screen readers may not say.
  const name = () => document.querySelectorAll('div[aria-label="Empty value"]:not([role])').forEach(e => e.setAttribute('role', 'img'));
  // What is wrong also stands beside its field, for as long as the message is there: data-field is how the label begins.
  let notes = [];
  const beside = () => {
    notes = notes.filter(({ box, note, input }) => box.isConnected || (note.remove(), input && input.removeAttribute('aria-invalid'), false));
    for (const box of document.querySelectorAll('.kn-bad[data-field]:not([data-seen])')) {
      box.dataset.seen = 'yes';
      const begins = box.dataset.field.split('|').filter(Boolean), panel = box.closest('[role="tabpanel"]') || document;
      const label = [...panel.querySelectorAll('[data-testid="block-info"]')].find(
        l => begins.some(words => l.textContent.trim().toLowerCase().startsWith(words)));
      const block = label && label.closest('.block');
      if (!block) continue;
      const note = document.createElement('p'), input = block.querySelector('input, textarea');
      note.className = 'kn-beside'; note.textContent = box.textContent; block.append(note);
      if (input) input.setAttribute('aria-invalid', 'true');
      notes.push({ box, note, input });
    }
  };
  const look = () => { name(); beside(); };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  look();
}
