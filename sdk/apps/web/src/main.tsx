import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "@whispr/react/styles.css";
import { App } from "./App";
import { Guard } from "./Guard";
import { Demo } from "./Demo";
import { apply, followOthers } from "./preferences";
import "./styles/index.css";

apply();
followOthers();

const isDemo = new URLSearchParams(location.search).has("demo");
const root = document.getElementById("root");
if (root !== null) createRoot(root).render(
    <StrictMode>
      <Guard>{isDemo ? <Demo /> : <App />}</Guard>
    </StrictMode>,
  );
