import { render } from 'preact';
import { App } from './App';
import { follow } from './state/stream';
import './styles/tokens.css';
import './styles/base.css';
import './styles/layout.css';
import './styles/components.css';

follow();
render(<App />, document.getElementById('app')!);
