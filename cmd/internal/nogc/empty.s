// A function without a body, such as setGCPercent, needs an assembly file in its package.
