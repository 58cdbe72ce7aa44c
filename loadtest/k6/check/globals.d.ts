// What k6 has besides its modules, and its types leave out.
declare const console: { error(message: string): void };
