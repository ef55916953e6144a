// One implementation for both module systems: two copies would have two classes of errors and two managers.
export * from "./index.js";
