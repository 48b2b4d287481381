import js from "@eslint/js";
import react from "eslint-plugin-react";
import ts from "typescript-eslint";

export default ts.config(js.configs.recommended, ts.configs.recommended, react.configs.flat["jsx-runtime"]);
