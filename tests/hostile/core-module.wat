;; A core module, no component. | refused: core module
(module (memory (export "memory") 1))
