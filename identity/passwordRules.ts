import { WaybillError } from '../schema/errors.ts';

/** Characters of a password that is looked at. A longer one is refused before it costs anything. */
const maxPasswordCharacters = 1_024;
const minNewPasswordCharacters = 12;
/** Characters of a name that somebody gives to sign in. */
const maxUserNameCharacters = 255;
const maxOneTimeCodeCharacters = 10;

/** What somebody presents to sign in. */
export interface PasswordAttempt {
  userName: string;
  password: string;
  /** Of the authenticator, when the user has one. */
  oneTimeCode?: string | undefined;
  /** Of the connection's other end, for the event. */
  address?: string | undefined;
}

/** Refuses, before anything is asked or hashed, what can be nobody's. Throws invalid; `context.field` says which. */
export function checkAttempt({ userName, password, oneTimeCode }: PasswordAttempt): void {
  checkText('userName', userName, maxUserNameCharacters);
  checkPresented('password', password);
  if (oneTimeCode !== undefined) checkText('oneTimeCode', oneTimeCode, maxOneTimeCodeCharacters);
}

/** Throws invalid for a new password that is out of bounds, or is the name of its user. */
export function checkNewPassword(password: string, userName: string): void {
  checkPresented('password', password);
  if ([...password].length < minNewPasswordCharacters)
    refuse('password', `a password has ${minNewPasswordCharacters} to ${maxPasswordCharacters} characters`);
  if (password.toLowerCase() === userName.toLowerCase()) refuse('password', 'a password is not the name of its user');
}

/** A line of text without control characters. Throws invalid. */
export function checkText(field: string, text: string, maxCharacters: number): void {
  if (text === '') refuse(field, `${field} is empty`);
  if (text.length > 2 * maxCharacters || [...text].length > maxCharacters)
    refuse(field, `${field} has more than ${maxCharacters} characters`);
  if (!text.isWellFormed() || /\p{Cc}/u.test(text)) refuse(field, `${field} holds characters that are not allowed`);
}

/** The length first: what is too long is not even read. Tabs and the like are a matter of taste; NUL ends a text elsewhere. */
function checkPresented(field: string, password: string): void {
  if (password === '') refuse(field, 'the password is empty');
  if (password.length > maxPasswordCharacters)
    refuse(field, `a password has at most ${maxPasswordCharacters} characters`);
  if (password.includes('\0') || !password.isWellFormed())
    refuse(field, 'the password holds characters that are not allowed');
}

function refuse(field: string, message: string): never {
  throw new WaybillError('invalid', message, { field });
}
