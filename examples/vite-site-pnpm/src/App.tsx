import { useState } from "react";
import { seal } from "./seal";

export function App() {
  const [text, setText] = useState("clay");
  return (
    <>
      <h1>Seals</h1>
      <input value={text} onChange={(event) => setText(event.target.value)} aria-label="text" />
      <output>{seal(text)}</output>
    </>
  );
}
