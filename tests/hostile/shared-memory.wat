;; A memory that is shared by threads. | refused: thread
(component
  (core module $m (memory 1 1 shared))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
