;; A memory of 64-bit addresses, of 2^48 pages. | refused: component
(component
  (core module $m (memory i64 0x1000000000000))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
