;; More memories than an instance may have. | refused: memories
(component
  (core module $m (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
