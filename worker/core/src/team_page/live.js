// Brings the page up to date while somebody looks. Without scripts, <noscript> reloads it.
(() => {
  const every = 4000;
  const text = main => {
    const copy = main.cloneNode(true);
    copy.querySelectorAll('time,.copy').forEach(one => one.replaceWith(''));
    copy.querySelectorAll('details').forEach(one => one.removeAttribute('open'));
    return copy.innerHTML;
  };
  const buttons = () => {
    if (navigator.clipboard) document.querySelectorAll('.copy').forEach(one => { one.hidden = false; });
  };
  const show = fresh => {
    const main = document.querySelector('main');
    if (text(main) === text(fresh)) {
      const times = fresh.querySelectorAll('time');
      main.querySelectorAll('time').forEach((one, i) => { one.textContent = times[i].textContent; });
      return;
    }
    const focused = document.activeElement.id;
    fresh.querySelectorAll('details').forEach(one => {
      const before = document.getElementById(one.id);
      // A source that is connected now folds up what to paste.
      if (before && before.closest('section').className === one.closest('section').className) one.open = before.open;
    });
    const said = one => one.querySelector('#sentence').textContent;
    if (said(main) !== said(fresh)) document.getElementById('live').textContent = said(fresh);
    main.replaceWith(document.adoptNode(fresh));
    buttons();
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: 'no-store' });
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const fresh = page.querySelector('main');
      if (answer.ok && fresh) show(fresh);
    } catch { /* The next look is in a moment. */ }
  };
  document.addEventListener('click', async event => {
    const button = event.target.closest('.copy');
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.of).textContent);
    document.getElementById('live').textContent = button.dataset.done;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = button.dataset.name; }, 2000);
  });
  document.addEventListener('visibilitychange', look);
  buttons();
  setInterval(look, every);
})();
