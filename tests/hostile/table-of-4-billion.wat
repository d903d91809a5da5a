;; A table of 4,294,967,295 elements. | refused: table
(component
  (core module $m (table 4294967295 funcref))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
