;; More memories than an instance may have, one in each of its core instances. | refused: memories
(component
  (core module $m (memory 1))
  (core instance (instantiate $m)) (core instance (instantiate $m)) (core instance (instantiate $m))
  (core instance (instantiate $m)) (core instance (instantiate $m)) (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
