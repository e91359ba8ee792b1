/* What notices and overlay share: colours, the button, and a root that the app's styles do not reach. */
const LOOK = `
  :host { --ink: #1f2328; --paper: #fff; --line: #d0d7de; --link: #0550ae; --tint: #ddf4ff; --soft: #f6f8fa;
    --red: #cf222e; --amber: #bf8700; --blue: #0969da; }
  button { all: unset; flex: none; padding: 4px 12px; border-radius: 6px; font-weight: 600;
    color: var(--link); background: var(--tint); cursor: pointer; }
  button:hover { text-decoration: underline; } button[hidden] { display: none; }
  button:focus-visible, pre:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
  @media (prefers-color-scheme: dark) { :host { --ink: #e6edf3; --paper: #22272e; --line: #444c56;
    --link: #a5d0ff; --tint: #1f3a5f; --soft: #1c2128; --red: #f85149; --amber: #d29922; --blue: #58a6ff; } }
  @media print { :host { display: none !important; } }`;

function makeRoot(host, style, html) {
  host.lang = "en";
  const root = host.attachShadow({ mode: "open" });
  root.innerHTML = `<style>${LOOK}${style}</style>${html}`;
  return root;
}

/* Not in the body, which an update may replace as a whole; again if the app cleared the document. */
function attach(host) {
  if (!host.isConnected) document.documentElement.append(host);
}
